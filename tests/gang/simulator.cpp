// Thousands of clusters in trouble. HYDROGEN_SEED=17 replays one, HYDROGEN_SEEDS=1..5000 runs a range, HYDROGEN_TRACE=1
// tells what happens.

#include "simulation.hpp"
#include <doctest/doctest.h>

#include <cstdlib>

using namespace hydrogen;
using namespace hydrogen::gang;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t seeds = 1500;
#else
constexpr std::uint64_t seeds = 10000;
#endif

std::pair<std::uint64_t, std::uint64_t> wanted_seeds() {
  if (const char* one = std::getenv("HYDROGEN_SEED")) {
    const auto seed = std::strtoull(one, nullptr, 10);
    return {seed, seed};
  }
  if (const char* range = std::getenv("HYDROGEN_SEEDS")) {
    char* dots = nullptr;
    const auto first = std::strtoull(range, &dots, 10);
    if (dots[0] == '.' && dots[1] == '.') return {first, std::strtoull(dots + 2, nullptr, 10)};
  }
  return {1, seeds};
}

}  // namespace

TEST_CASE("simulated clusters in trouble keep every invariant, and everything ends once faults stop") {
  const auto [first, last] = wanted_seeds();
  int failures = 0;
  for (auto seed = first; seed <= last && failures < 10; ++seed) {
    gang::testing::simulation cluster(seed);
    const auto broken = cluster.run();
    if (broken.empty()) continue;
    ++failures;
    FAIL_CHECK("HYDROGEN_SEED=" << seed << ": " << broken);
  }
}
