// Who is named when a call has waited for too long: those that keep everybody waiting, and nobody that waits.
#include <hydrogen/comm/waiting.hpp>

#include "gang.hpp"
#include "wait_reports.hpp"
#include <doctest/doctest.h>

#include <array>
#include <latch>
#include <thread>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::testing;

TEST_CASE("who waits is not named, but those that it waits for") {
  const known_waits others{{1, in("B", {here(1), missing(2), stopped(3)})}, {3, in("C", {here(3), stopped(4)})}};
  CHECK(overdue_error(0, in("A", {here(0), missing(1)}), others).what ==
        "rank 2 has not arrived at B within 1 s; it made no call before; ranks 1 and 3 wait there; "
        "C is not finished within 1 s although every rank has arrived; rank 4 has stopped in it");
  CHECK(overdue_error(0, in("A", {here(0), missing(1), missing(2)}), others).what ==
        "rank 2 has not arrived at A within 1 s; it made no call before; rank 0 waits there; "
        "C is not finished within 1 s although every rank has arrived; rank 4 has stopped in it");
}

TEST_CASE("who gives up does not name itself because others wait for it") {
  CHECK(overdue_error(0, in("A", {here(0), stopped(1), stopped(2)}), {{1, in("A", {stopped(0), stopped(2), here(1)})}})
            .what == "A is not finished within 1 s although every rank has arrived; rank 2 has stopped in it");
}

TEST_CASE("who waits elsewhere is not said to wait in the call that it has not come to") {
  CHECK(overdue_error(0, in("A", {here(0), missing(1), stopped(2)}), {{1, in("B", {here(1), stopped(2)})}}).what ==
        "A is not finished within 1 s; rank 2 has stopped in it");
}

TEST_CASE("when all wait for each other, those are named that are missing where the call has failed") {
  const known_waits others{{1, in("B", {here(1), missing(2)})}, {2, in("C", {here(2), missing(1), missing(0)})}};
  CHECK(overdue_error(0, in("A", {here(0), missing(1)}), others).what ==
        "rank 1 has not arrived at A within 1 s; it made no call before; rank 0 waits there");
}

TEST_CASE("a report fits into a frame, however many ranks are missing") {
  wait_report long_one = in("A", {});
  for (std::uint32_t r = 0; r < 10; ++r) long_one.ranks.push_back({.rank = r, .last_call = std::string(500, 'x')});
  const auto without_calls = decode<wait_report>(encode_within(long_one, max_wait_report), "report");
  REQUIRE(without_calls);
  CHECK(without_calls->ranks.size() == 10);
  for (std::uint32_t r = 10; r < 4096; ++r) long_one.ranks.push_back({.rank = r});
  const auto bytes = encode_within(long_one, max_wait_report);
  CHECK(bytes.size() <= max_wait_report);
  const auto first_ones = decode<wait_report>(bytes, "report");
  REQUIRE(first_ones);
  CHECK(first_ones->ranks.size() >= 32);
  CHECK(first_ones->ranks.back().rank == first_ones->ranks.size() - 1);
}

TEST_CASE("of ranks that wait for each other in a row, each in another group, the one at the end is named") {
  const std::vector<layout> row{{0, 0, 0, 0},
                                layout({0, 1, 2, 3}, medium::memory),
                                layout({0, 1, 2, 3}, medium::links),
                                layout({0, 1, 2, 3}, medium::tcp),
                                layout({0, 0, 1, 1}, medium::links),
                                layout({0, 1, 2, 3}, medium::memory, {0, 0, 1, 1}),
                                layout({0, 0, 1, 1}, medium::memory, {0, 1})};
  for (const auto& placement : row) {
    for (const bool is_in_whole : {false, true}) {
      gang team(placement);
      std::array<std::atomic<pid_t>, 4> threads{};
      std::latch over(1);
      const auto results = team.run([&](group& g) -> expected<void> {
        std::vector<std::unique_ptr<group>> with_next(4);
        for (std::uint32_t i = 0; i + 1 < 4; ++i) {
          if (g.rank() != i && g.rank() != i + 1) continue;
          const std::uint32_t both[] = {i, i + 1};
          auto made = g.subgroup(both);
          if (!made) return unexpected(made.error());
          with_next[i] = std::move(*made);
        }
        if (auto ok = g.barrier(); !ok) return ok;
        if (g.rank() == 3) {
          over.wait();
          return {};
        }
        if (g.rank() == 0) {
          for (const auto r : {1u, 2u}) await_sleep(threads[r]);
          const call_options options(std::source_location::current(), 800ms);
          auto result = is_in_whole ? g.barrier(options) : with_next[0]->barrier(options);
          over.count_down();
          return result;
        }
        threads[g.rank()] = ::gettid();
        return with_next[g.rank()]->barrier();
      });
      INFO(text_of(placement), is_in_whole ? ", in the whole" : ", in a group");
      REQUIRE_FALSE(results[0]);
      CHECK(begins_with(results[0].error(),
                        "rank 3 on node " + node_of(placement, 3) + " has not arrived at barrier() "));
      for (const auto waits : {"rank 1 on node", "rank 2 on node"}) {
        CHECK(results[0].error().what.find(waits) == std::string::npos);
      }
    }
  }
}

TEST_CASE("a rank that waits in an area is known to wait for whom it misses now, though nothing has woken it") {
  const auto there = std::make_shared<area>(3);
  abort_word abort;
  const auto plan = make_plan(std::source_location::current(), {.what = operation::barrier});
  const auto wait = [&](std::uint32_t rank) {
    area_wait how(60s, abort);
    (void)there->enter(rank, plan, {}, how);
  };
  const auto await = [](const auto& holds) {
    for (const auto until = now() + 20s; !holds() && now() < until;) std::this_thread::yield();
    CHECK(holds());
  };
  const auto missed_by = [&](std::uint32_t rank) {
    const auto waits = there->known_to_wait();
    const auto at = waits.find(rank);
    return at == waits.end() ? 99u : at->second.ranks[1].rank;
  };
  std::thread first(wait, 0);
  await([&] { return missed_by(0) == 1; });
  std::thread second(wait, 1);
  await([&] { return missed_by(1) == 2; });
  CHECK(missed_by(0) == 2);
  abort.set({errc::aborted, "the test is over", {}, {}});
  there->wake();
  first.join();
  second.join();
  CHECK(there->known_to_wait().empty());
}

TEST_CASE("a rank whose group is not begun names the one for which the beginner waits") {
  gang team(layout({0, 1, 2}, medium::memory));
  std::atomic<pid_t> thread{0};
  std::latch over(1);
  const auto results = team.run([&](group& g) -> expected<void> {
    std::unique_ptr<group> both;
    if (g.rank() < 2) {
      auto made = g.subgroup(std::vector<std::uint32_t>{0, 1});
      if (!made) return unexpected(made.error());
      both = std::move(*made);
    }
    if (auto ok = g.barrier(); !ok) return ok;
    if (g.rank() == 0) {
      thread = ::gettid();
      return both->barrier();
    }
    if (g.rank() == 1) {
      over.wait();
      return {};
    }
    await_sleep(thread);
    auto made = g.subgroup(std::vector<std::uint32_t>{0, 2}, {std::source_location::current(), 800ms});
    over.count_down();
    return made ? expected<void>() : unexpected(made.error());
  });
  REQUIRE_FALSE(results[2]);
  CHECK(begins_with(results[2].error(), "rank 1 on node n1 has not arrived at barrier() of ranks 0 and 1 at"));
}
