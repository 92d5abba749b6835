// Who gives up asks the others before, and who waits tells them for whom.
#include <hydrogen/comm/collective/linked.hpp>
#include <hydrogen/comm/inproc/link.hpp>
#include <hydrogen/comm/tcp/link.hpp>

#include "far_end.hpp"
#include "wait_reports.hpp"

#include <thread>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::testing;

namespace {

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
  /// The next that rank `to` is told.
  wait_report next_answer(std::uint32_t to) {
    auto [h, payload] = far[to]->read();
    while (h.kind != frame_kind::answer) std::tie(h, payload) = far[to]->read();
    auto report = decode<wait_report>(payload, "report");
    REQUIRE(report);
    return std::move(*report);
  }
  /// In the first call of the whole gang, by a link that rank 0 does not use in it.
  void is_ahead(std::uint32_t rank) {
    auto piece = frame(frame_kind::piece, 0);
    piece.whole = 1;
    far[rank]->write(piece, {});
  }
  /// As a rank that waits in an island and misses this one.
  void look_around(const rank_report& misses) {
    call_deadline until(600s);
    const auto why = links->look_around(until, [&] { return in(std::string(1000, 'A'), {here(0), misses}); });
    CHECK_MESSAGE(why.code == errc::none, why.message());
  }
  /// Of all of them, in vain.
  error barrier() {
    const auto result = linked_engine(links, tuning()).barrier(plan, short_time);
    REQUIRE_FALSE(result);
    return result.error();
  }
};

}  // namespace

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
  std::thread other([&] {
    CHECK(f.next_answer(1).ranks.size() == 2);
    f.far[2]->write(f.frame(frame_kind::piece, 0), {});
    CHECK(f.next_answer(1).ranks.empty());
  });
  CHECK(linked_engine(f.links, tuning()).barrier(f.plan, 60s));
  f.links.reset();
  other.join();
}

TEST_CASE("a rank that has told for whom it waits takes it back when its call of islands ends") {
  one_of_three f;
  f.is_ahead(1);
  {
    const mesh::whole_call call(*f.links, f.plan);
    f.look_around(missing(2));
    CHECK(f.next_answer(1).ranks.size() == 2);
  }
  CHECK(f.next_answer(1).ranks.empty());
}

TEST_CASE("a rank that does not read is told no more, and the newest when it reads again") {
  one_of_three f;
  f.is_ahead(1);
  const mesh::whole_call call(*f.links, f.plan);
  std::uint32_t looks = 0;
  // Of two reports each is news after the other.
  const auto look = [&] { f.look_around(missing(1 + ++looks % 2)); };
  look();
  const auto size = f.far[1]->unread();
  REQUIRE(size > 0);
  for (std::size_t before = 0; f.far[1]->unread() != before;) {
    before = f.far[1]->unread();
    look();
  }
  const auto came = f.far[1]->unread() / size;
  for (int i = 0; i < 100; ++i) look();
  for (std::size_t i = 0; i < came; ++i) f.next_answer(1);
  look();
  f.next_answer(1);  // which was begun when nothing more fitted
  CHECK(f.next_answer(1).ranks[1].rank == 1 + looks % 2);
  CHECK(f.far[1]->unread() == 0);
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
