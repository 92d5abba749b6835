// Many seeds of the whole cluster. HYDROGEN_SEED=n replays one with a trace, HYDROGEN_SEEDS=a..b runs a range.
#include "simulation.hpp"
#include <doctest/doctest.h>

#include <cstdlib>

using namespace hydrogen;
using namespace hydrogen::job::test;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t seeds = 1000;
#else
constexpr std::uint64_t seeds = 10000;
#endif

bool one(std::uint64_t seed, tally& sum, bool trace) {
  simulation s(seed, sum);
  s.trace = trace;
  try {
    s.run();
    return true;
  } catch (const broken& e) {
    MESSAGE(std::string(e.what()));
    return false;
  }
}

}  // namespace

TEST_CASE("every job ends with its right result, or with a cause beyond its limit, whatever is lost or dies") {
  tally sum;
  if (const char* text = std::getenv("HYDROGEN_SEED")) {
    CHECK(one(std::strtoull(text, nullptr, 10), sum, true));
    return;
  }
  std::uint64_t first = 1, last = seeds;
  if (const char* text = std::getenv("HYDROGEN_SEEDS")) {
    char* rest = nullptr;
    first = std::strtoull(text, &rest, 10);
    last = std::strtoull(rest + 2, nullptr, 10);
  }
  std::uint64_t bad = 0;
  for (auto seed = first; seed <= last && bad < 5; ++seed) bad += !one(seed, sum, false);
  CHECK(bad == 0);
  MESSAGE("jobs done ", sum.finished, ", failed ", sum.failed, "; tasks ", sum.tasks, "; gang attempts ",
          sum.gang_attempts, " (restored ", sum.restored, "), steps ", sum.steps, "; killed: executors ",
          sum.executors_killed, ", nodes ", sum.nodes_killed, ", coordinators ", sum.coordinators_killed, "; recalls ",
          sum.recalls, ", inputs missing ", sum.missing, ", outputs with the answer ", sum.with_answer,
          "; gang attempts with fewer ranks ", sum.narrow, ", with others than before ", sum.other_width,
          ", that went further back ", sum.gone_back);
  if (last - first < 100) return;
  CHECK(sum.finished > 0);
  CHECK(sum.failed > 0);
  CHECK(sum.restored > 0);
  CHECK(sum.executors_killed > 0);
  CHECK(sum.nodes_killed > 0);
  CHECK(sum.coordinators_killed > 0);
  CHECK(sum.recalls > 0);
  CHECK(sum.missing > 0);
  CHECK(sum.with_answer > 0);
  CHECK(sum.narrow > 0);
  CHECK(sum.other_width > 0);
  CHECK(sum.gone_back > 0);
}
