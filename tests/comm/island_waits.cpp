// Ranks of islands that wait in a call of the whole gang: what they hear of ranks of other islands meanwhile.
#include "gang.hpp"
#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <latch>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::testing;

namespace {

std::vector<layout> of_two_islands() {
  return {layout({0, 1, 2, 3}, medium::memory, {0, 0, 1, 1}), layout({0, 0, 1, 1}, medium::memory, {0, 1})};
}

expected<void> sum_of_all(group& g) {
  std::vector<float> x(1000, 1.0f);
  return g.all_reduce(std::span(x), reduction::sum);
}

expected<void> from_first(group& g) {
  byte_buffer bytes(g.rank() == 0 ? 1000 : 0);
  return g.broadcast(0, bytes);
}

expected<void> all_of_bytes(group& g) {
  auto all = g.all_gather(byte_buffer(1000));
  return all ? expected<void>() : unexpected(all.error());
}

expected<void> meeting_of_all(group& g) {
  return g.barrier();
}

constexpr std::array calls_of_all{meeting_of_all, sum_of_all, from_first, all_of_bytes};

}  // namespace

TEST_CASE("ranks of two islands that wait for each other, one in the whole gang and one in a group, are told") {
  for (const auto& placement : of_two_islands()) {
    for (const auto call : calls_of_all) {
      for (const auto& who : {std::pair{0u, 2u}, {0u, 3u}, {1u, 2u}, {1u, 3u}, {2u, 0u}, {3u, 1u}}) {
        const auto in_whole = who.first, in_group = who.second;
        for (const bool is_whole_first : {true, false}) {
          // A third one comes to neither call before the two have failed.
          for (const bool is_one_away : {true, false}) {
            gang team(placement);
            std::atomic<pid_t> thread{0};
            std::latch over(2);
            const auto away = in_whole ^ 1u;
            const auto results = team.run([&](group& g) -> expected<void> {
              std::unique_ptr<group> both;
              if (g.rank() == in_whole || g.rank() == in_group) {
                auto made =
                    g.subgroup(std::vector<std::uint32_t>{std::min(in_whole, in_group), std::max(in_whole, in_group)});
                if (!made) return unexpected(made.error());
                both = std::move(*made);
              }
              if (auto ok = g.barrier(); !ok) return ok;
              if (!both) {
                if (is_one_away && g.rank() == away) over.wait();
                return call(g);
              }
              if (is_whole_first == (g.rank() == in_whole)) {
                thread = ::gettid();
              } else {
                await_sleep(thread);
              }
              auto result = g.rank() == in_whole ? call(g) : both->barrier();
              over.count_down();
              return result;
            });
            for (std::uint32_t r = 0; r < team.size(); ++r) {
              INFO(text_of(placement), ", rank ", in_whole, " in the whole and ", in_group, " in a group, rank ", r,
                   ": ", results[r] ? "no error" : results[r].error().message());
              REQUIRE_FALSE(results[r]);
              CHECK(results[r].error().code == errc::mismatch);
              CHECK(results[r].error().what.find("rank " + std::to_string(in_group) + " barrier() of ranks") !=
                    std::string::npos);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("a rank that waits in its island is told what happens in another one, though its island has not met") {
  enum class event { mismatch, leaves };
  for (const auto& placement : of_two_islands()) {
    for (const auto what : {event::mismatch, event::leaves}) {
      for (const auto call : calls_of_all) {
        // Rank `waits` is in the call, and the other one of its island does not come before that has ended.
        for (const std::uint32_t waits : {0u, 1u, 2u, 3u}) {
          gang team(placement);
          std::latch over(1);
          const auto fails = waits < 2 ? 3u : 1u;
          const auto results = team.run([&](group& g) -> expected<void> {
            if (auto ok = g.barrier(); !ok) return ok;
            if (g.rank() == (waits ^ 1u)) over.wait();
            if (g.rank() == fails) {
              if (what == event::leaves) return {};
              std::vector<double> x(3);
              return g.all_reduce(std::span(x), reduction::max);
            }
            auto result = call(g);
            if (g.rank() == waits) over.count_down();
            return result;
          });
          for (std::uint32_t r = 0; r < team.size(); ++r) {
            if (r == fails && what == event::leaves) continue;
            INFO(text_of(placement), ", rank ", waits, " waits, rank ", r, ": ",
                 results[r] ? "no error" : results[r].error().message());
            REQUIRE_FALSE(results[r]);
            CHECK(results[r].error().code == (what == event::leaves ? errc::disconnected : errc::mismatch));
            CHECK(results[r].error().what.find("rank " + std::to_string(fails)) != std::string::npos);
          }
        }
      }
    }
  }
}
