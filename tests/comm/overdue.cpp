// Who is named when a call has waited for too long: those that keep everybody waiting, and nobody that waits.
#include <hydrogen/comm/collective/linked.hpp>
#include <hydrogen/comm/inproc/link.hpp>
#include <hydrogen/comm/tcp/link.hpp>
#include <hydrogen/comm/waiting.hpp>

#include "far_end.hpp"
#include "gang.hpp"
#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <latch>
#include <thread>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::testing;

namespace {

rank_report missing(std::uint32_t rank) {
  return {.rank = rank};
}
rank_report stopped(std::uint32_t rank) {
  return {.rank = rank, .arrived = true, .stopped = true};
}
rank_report here(std::uint32_t rank) {
  return {.rank = rank, .arrived = true};
}
wait_report in(const std::string& call, std::vector<rank_report> ranks) {
  return {call, 1s, std::move(ranks)};
}

const gang_token live{{{1, 2}, 3, 4, 5}, {{2}, 9}};
constexpr duration short_time = 400ms;

/// Rank 0 of three, by links; the test speaks for the others.
struct one_of_three {
  abort_word abort;
  std::shared_ptr<link_counters> counters = std::make_shared<link_counters>();
  std::vector<std::unique_ptr<far_end>> far{3};
  std::shared_ptr<mesh> links;
  call_plan plan = make_plan(std::source_location::current(), {.what = operation::barrier});

  one_of_three() {
    mesh::options options;
    options.token = live;
    options.nodes = {"a", "b", "c"};
    options.self = *waker::make();
    options.counters = counters;
    std::vector<std::unique_ptr<comm::link>> ends(3);
    for (const std::size_t r : {1u, 2u}) {
      int fds[2];
      REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
      ends[r] = std::make_unique<tcp::link>(unique_fd(fds[0]));
      far[r] = std::make_unique<far_end>(unique_fd(fds[1]));
    }
    links = std::make_shared<mesh>(options, std::move(ends), abort);
  }

  frame_header frame(frame_kind kind, std::uint64_t total) const {
    frame_header h;
    h.fence = fence_of(live);
    h.plan = plan.hash;
    h.kind = kind;
    h.total = total;
    return h;
  }
  void answer(std::uint32_t from, std::uint64_t number, const wait_report& report) {
    far[from]->write(frame(frame_kind::answer, number), encode(report));
  }
  /// Of all of them, in vain.
  error barrier() {
    const auto result = linked_engine(links, tuning()).barrier(plan, short_time);
    REQUIRE_FALSE(result);
    return result.error();
  }
};

bool begins_with(const error& why, const std::string& text) {
  INFO(why.message());
  CHECK(why.code == errc::timed_out);
  return why.what.starts_with(text);
}

}  // namespace

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

TEST_CASE("a rank asks before it gives up, and believes the answer to this question alone") {
  for (const bool is_of_this_call : {true, false}) {
    one_of_three f;
    f.far[2]->write(f.frame(frame_kind::piece, 0), {});
    std::thread other([&] {
      for (;;) {
        const auto [h, payload] = f.far[1]->read();
        if (h.kind != frame_kind::ask) continue;
        return f.answer(1, h.total + (is_of_this_call ? 0 : 1), in("B", {here(1), missing(2)}));
      }
    });
    const auto why = f.barrier();
    other.join();
    CHECK(begins_with(why, is_of_this_call ? "rank 2 on node c has not arrived at B within 1 s"
                                           : "rank 1 on node b has not arrived at barrier()"));
  }
}

TEST_CASE("what a rank has told without being asked holds until it takes it back") {
  for (const bool is_taken_back : {false, true}) {
    one_of_three f;
    f.far[2]->write(f.frame(frame_kind::piece, 0), {});
    f.answer(1, 0, in("B", {here(1), missing(2)}));
    if (is_taken_back) f.answer(1, 0, {});
    CHECK(begins_with(f.barrier(), is_taken_back ? "rank 1 on node b has not arrived at barrier()"
                                                 : "rank 2 on node c has not arrived at B within 1 s"));
  }
}

TEST_CASE("who waits answers with those that are missing, and tells a rank that is ahead before it asks") {
  for (const bool is_ahead : {false, true}) {
    one_of_three f;
    f.far[1]->write(f.frame(frame_kind::piece, 0), {});
    // Of questions that come together the last one is answered.
    if (!is_ahead) f.far[1]->write(f.frame(frame_kind::ask, 6), {});
    auto next = f.frame(is_ahead ? frame_kind::piece : frame_kind::ask, 7);
    next.call = is_ahead ? 1 : 0;
    f.far[1]->write(next, {});
    std::vector<wait_report> told;
    std::thread other([&] {
      for (auto [h, payload] = f.far[1]->read(); h.kind != frame_kind::bye; std::tie(h, payload) = f.far[1]->read()) {
        if (h.kind != frame_kind::answer) continue;
        CHECK(h.total == (is_ahead ? 0 : 7));
        auto report = decode<wait_report>(payload, "report");
        CHECK(report);
        if (report) told.push_back(std::move(*report));
      }
    });
    CHECK(begins_with(f.barrier(), "rank 2 on node c has not arrived at barrier()"));
    other.join();
    REQUIRE(told.size() == 1);
    CHECK(told[0].call == f.plan.text());
    REQUIRE(told[0].ranks.size() == 2);
    CHECK(told[0].ranks[0].rank == 0);
    CHECK_FALSE(told[0].ranks[0].is_missing());
    CHECK(told[0].ranks[1].rank == 2);
    CHECK(told[0].ranks[1].is_missing());
  }
}

TEST_CASE("a rank that has told for whom it waits takes it back when it goes on") {
  one_of_three f;
  f.far[1]->write(f.frame(frame_kind::piece, 0), {});
  auto of_next = f.frame(frame_kind::piece, 0);
  of_next.call = 1;
  f.far[1]->write(of_next, {});
  const auto next_answer = [&] {
    auto [h, payload] = f.far[1]->read();
    while (h.kind != frame_kind::answer) std::tie(h, payload) = f.far[1]->read();
    return decode<wait_report>(payload, "report");
  };
  std::thread other([&] {
    const auto told = next_answer();
    CHECK((told && told->ranks.size() == 2));
    f.far[2]->write(f.frame(frame_kind::piece, 0), {});
    const auto taken_back = next_answer();
    CHECK((taken_back && taken_back->ranks.empty()));
  });
  CHECK(linked_engine(f.links, tuning()).barrier(f.plan, 60s));
  f.links.reset();
  other.join();
}

TEST_CASE("a rank that has asked, and leaves when it has all that it needs, is not missed") {
  for (const bool is_answered : {false, true}) {
    one_of_three f;
    f.far[1]->write(f.frame(frame_kind::piece, 0), {});
    std::thread other([&] {
      const auto read_to = [&](frame_kind kind) {
        while (f.far[1]->read().first.kind != kind) {
        }
      };
      read_to(frame_kind::piece);
      f.far[1]->write(f.frame(frame_kind::ask, 1), {});
      if (is_answered) read_to(frame_kind::answer);
      f.far[1]->write(f.frame(frame_kind::bye, 0), {});
      f.far[1]->close();
      f.far[2]->write(f.frame(frame_kind::piece, 0), {});
    });
    const auto result = linked_engine(f.links, tuning()).barrier(f.plan, 60s);
    CHECK_MESSAGE(result, result.error().message());
    other.join();
  }
}

TEST_CASE("a question that nobody has read does not keep a rank of the same process in its call") {
  const auto out = std::make_shared<inproc::channel>(), back = std::make_shared<inproc::channel>();
  const std::shared_ptr<waker> self = *waker::make();
  inproc::link near(out, back, self);
  frame_header h;
  h.kind = frame_kind::ask;
  near.send_copy(h, {});
  CHECK(near.idle());
  CHECK_FALSE(near.flushed());
  h.kind = frame_kind::piece;
  near.send(h, {}, false);
  CHECK_FALSE(near.idle());
}

TEST_CASE("an answer that makes no sense is refused, and names who has sent it") {
  const std::vector<std::pair<byte_buffer, const char*>> wrong{
      {encode(in("B", {missing(3)})), "for whom it waits"},
      {byte_buffer(10, std::byte{0xff}), "for whom it waits"},
      {{}, "for whom it waits"},
      {byte_buffer(max_wait_report + 1), "answers in more than 4096 bytes"}};
  for (const auto& [bytes, text] : wrong) {
    one_of_three f;
    f.far[1]->write(f.frame(frame_kind::answer, 0), bytes);
    const auto why = f.barrier();
    CHECK(why.code == errc::bad_input);
    CHECK(why.what.find("rank 1 on node b") != std::string::npos);
    CHECK(why.what.find(text) != std::string::npos);
    CHECK(f.counters->refused == 1);
  }
  one_of_three f;
  f.far[1]->write(f.frame(frame_kind::ask, 1), byte_buffer(1));
  const auto why = f.barrier();
  CHECK(why.code == errc::bad_input);
  CHECK(why.what.find("asks in more than 0 bytes") != std::string::npos);
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
