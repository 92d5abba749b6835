// Ranks that meet some of the others otherwise than the rest: in their process, or on their host.
#include "gang.hpp"
#include <doctest/doctest.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <latch>
#include <thread>

using namespace hydrogen;
using namespace hydrogen::comm;
using testing::gang;

namespace {

/// Whether a thread of this process does nothing, each time of many that one looks: a thread that runs sleeps for a
/// moment when another has a lock.
bool is_found_asleep(pid_t thread) {
  for (int look = 0; look < 100; ++look) {
    std::ifstream about("/proc/self/task/" + std::to_string(thread) + "/stat");
    std::string number, name, state;
    about >> number >> name >> state;
    if (state != "S") return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace

TEST_CASE("ranks of one process that wait for a rank elsewhere sleep, once they have heard each other") {
  gang team(testing::layout({0, 0, 1}, testing::medium::tcp));
  std::atomic<pid_t> threads[2] = {};
  std::atomic<bool> slept{false};
  const auto results = team.run([&](group& g) -> expected<void> {
    if (g.rank() != 2) threads[g.rank()] = ::gettid();
    const auto both_sleep = [&] {
      return threads[0] != 0 && threads[1] != 0 && is_found_asleep(threads[0]) && is_found_asleep(threads[1]);
    };
    // What the two give each other is taken long before the last one comes; which waits, but not for ever: ranks that
    // look again and again do so until the end of the call.
    for (const auto until = now() + 20s; g.rank() == 2 && !slept && now() < until; std::this_thread::yield()) {
      slept = both_sleep();
    }
    return g.barrier();
  });
  for (const auto& r : results) CHECK_MESSAGE(r, r.error().message());
  CHECK(slept);
}

TEST_CASE("what fails in a group of ranks of two hosts is told to a rank of the island that waits elsewhere") {
  gang team(testing::layout({0, 1, 2}, testing::medium::memory, {0, 0, 1}));
  std::latch joined(3), told(1);
  const auto results = team.run([&](group& g) -> expected<void> {
    joined.arrive_and_wait();
    if (g.rank() == 1) {
      auto ok = g.barrier(call_options(std::source_location::current(), 20s));
      told.count_down();
      return ok;
    }
    auto pair = g.subgroup(std::vector<std::uint32_t>{0, 2});
    // Rank 2 leaves.
    if (!pair || g.rank() == 2) return pair ? expected<void>() : unexpected(pair.error());
    auto ok = (*pair)->barrier();
    // It is still there: that is not what the other one hears.
    told.wait();
    return ok;
  });
  for (const std::uint32_t r : {0u, 1u}) {
    INFO("rank ", r, ": ", results[r] ? "no error" : results[r].error().message());
    REQUIRE_FALSE(results[r]);
    CHECK(results[r].error().code == errc::disconnected);
    CHECK(results[r].error().message().find("rank 2 left") != std::string::npos);
  }
}
