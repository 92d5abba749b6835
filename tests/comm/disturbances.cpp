// One rank is killed, stopped, cut off or slow, in every phase of every collective and over every kind of link; what
// the others see, what they are left with, and whether they can go on.
#include "disturbed_calls.hpp"
#include "disturbed_team.hpp"
#include <doctest/doctest.h>

#include <thread>

using namespace hydrogen;
using namespace hydrogen::comm;
using testing::disturbance;
using testing::disturbed_calls;
using testing::disturbed_team;
using testing::findings;
using testing::phase;
using testing::team_shape_named;
using testing::team_shapes;

namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::size_t every = 7;       // of the cells: processes are slow to begin
constexpr bool counts_memory = false;  // what is freed is kept for a while
#else
constexpr std::size_t every = 1;
constexpr bool counts_memory = true;
#endif

/// The whole table of one disturbance. Links side by side with several teams each, where most of the time is waited;
/// else one after the other, so that what is printed is not the time that others take.
void run_table(disturbance what, std::size_t teams = 1) {
  findings found;
  std::vector<std::thread> threads;
  for (const auto& shape : team_shapes()) {
    for (std::size_t team = 0; team < teams; ++team) {
      threads.emplace_back([&found, &shape, what, team, teams] {
        disturbed_team ranks(secret::random(), shape, what, found);
        for (auto cell = team * every; cell < 3 * disturbed_calls().size(); cell += teams * every) {
          const auto call = cell / 3;
          const auto when = static_cast<phase>(cell % 3);
          // Without data there is nothing to be caught at.
          if (when == phase::within && disturbed_calls()[call].count == 0) continue;
          if (!disturbed_calls()[call].goes_over(shape.name)) continue;
          for (std::uint32_t next = 0; next < (shape.each_rank ? disturbed_team::ranks : 1); ++next) {
            ranks.disturb(call, when, static_cast<std::uint32_t>((call + cell + next) % disturbed_team::ranks));
          }
        }
      });
    }
    if (teams > 1) continue;
    threads[0].join();
    threads.clear();
  }
  for (auto& t : threads) t.join();
  for (const auto& w : found.all_wrong()) CHECK_MESSAGE(false, w);
  MESSAGE("a rank is ", to_string(what), ": ", found.summary());
}

}  // namespace

TEST_CASE("a rank that is killed in any phase of any call is named by all others, and they can go on") {
  run_table(disturbance::kill);
}

TEST_CASE("a rank that hangs in any phase of any call is named at the limit, and harms nobody when it goes on") {
  run_table(disturbance::stop, 6);
}

TEST_CASE("a rank that is cut off in any phase of any call is lost for the others, until the next attempt") {
  run_table(disturbance::cut);
}

TEST_CASE("a rank that is slow in any phase of any call changes nothing") {
  run_table(disturbance::slow);
}

TEST_CASE("a rank that comes to an attempt that is over is turned away, and counted") {
  findings found;
  disturbed_team ranks(secret::random(), team_shape_named("tcp"), disturbance::stop, found);
  const auto before = ranks.count(0).strays;
  ranks.disturb_joining(2);
  CHECK(ranks.count(0).strays > before);
  for (const auto& w : found.all_wrong()) CHECK_MESSAGE(false, w);
}

TEST_CASE("memory does not grow with the number of ranks that were lost") {
  std::size_t call = 0;
  while (disturbed_calls()[call].name != "all_reduce in a gang buffer") ++call;
  for (const std::string between : {"memory", "stages", "links", "tcp"}) {
    findings found;
    disturbed_team ranks(secret::random(), team_shape_named(between), disturbance::kill, found);
    std::size_t before = 0;
    for (int round = 0; round < 20 / static_cast<int>(every) + 5; ++round) {
      // Never rank 0, whose memory it is.
      ranks.disturb(call, phase::within, 1 + static_cast<std::uint32_t>(round % 2));
      if (round == 4) before = ranks.count(0).kibibytes;
    }
    const auto after = ranks.count(0).kibibytes;
    INFO(between, ": ", before, " KiB after five, ", after, " KiB at the end");
    // Much less than what each attempt has: three buffers of 1.2 MB, or as much on its way.
    CHECK((after < before + 4096 || !counts_memory));
    for (const auto& w : found.all_wrong()) CHECK_MESSAGE(false, w);
  }
}
