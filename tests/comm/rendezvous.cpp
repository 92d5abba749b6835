#include <hydrogen/comm/dial.hpp>
#include <hydrogen/comm/rendezvous.hpp>

#include "gang.hpp"
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>

using namespace hydrogen;
using namespace hydrogen::comm;
using testing::gang;
using testing::node_of;
using testing::placements;
using testing::text_of;

namespace {

bool says(const error& e, std::string_view text) {
  return e.message().find(text) != std::string::npos;
}

std::pair<unique_fd, unique_fd> sockets() {
  int fds[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  return {unique_fd(fds[0]), unique_fd(fds[1])};
}

hello hello_for(const gang_token& token, std::uint32_t from, std::uint32_t to, boot_id boot) {
  hello h;
  h.purpose = link_purpose::gang;
  h.from = boot;
  h.token = encode(link_token{token, from, to});
  return h;
}

bool is_closed(const unique_fd& fd) {
  char byte = 0;
  return ::recv(fd.get(), &byte, 1, MSG_DONTWAIT) == 0;
}

}  // namespace

TEST_CASE("a join without all ranks names the missing ones") {
  struct one {
    testing::layout placement;
    std::uint32_t missing;
    std::vector<expected<void>> results;
    bool late_joined = false;
  };
  std::vector<one> all;
  for (const auto& placement : placements(4)) {
    for (std::uint32_t missing = 0; missing < 4; ++missing) all.push_back({placement, missing, {}, false});
  }
  // Side by side, since each has to wait for its deadline.
  std::vector<std::thread> gangs;
  for (auto& x : all) {
    gangs.emplace_back([&x] {
      gang team(x.placement);
      x.results.resize(4);
      std::vector<std::thread> threads;
      for (std::uint32_t r = 0; r < 4; ++r) {
        if (r == x.missing) continue;
        threads.emplace_back([&, r] {
          auto g = team.join(r, 2s);
          if (!g) x.results[r] = unexpected(g.error());
        });
      }
      for (auto& t : threads) t.join();
      // Who comes after the others have given up fails too.
      x.late_joined = team.join(x.missing, 2s).has_value();
    });
  }
  for (auto& t : gangs) t.join();
  for (const auto& x : all) {
    CHECK_FALSE(x.late_joined);
    for (std::uint32_t r = 0; r < 4; ++r) {
      if (r == x.missing) continue;
      const auto& result = x.results[r];
      INFO(text_of(x.placement), ", missing ", x.missing, ", rank ", r, ": ",
           result ? "no error" : result.error().message());
      REQUIRE_FALSE(result);
      CHECK(result.error().code == errc::timed_out);
      CHECK(
          says(result.error(), rank_on_node(x.missing, node_of(x.placement, x.missing)) + " has not joined the gang"));
    }
  }
}

TEST_CASE("ranks that were told different tables do not join") {
  for (const auto& placement : placements(3)) {
    gang team(placement);
    std::vector<expected<void>> results(3);
    std::vector<std::thread> threads;
    for (std::uint32_t r = 0; r < 3; ++r) {
      threads.emplace_back([&, r] {
        auto members = team.members;
        if (r == 1) members[0].node = "elsewhere";
        auto g = team.process_of(r).meet->join(team.token, r, members, *team.aborts[r], now() + 10s);
        if (!g) results[r] = unexpected(g.error());
      });
    }
    for (auto& t : threads) t.join();
    for (const auto& r : results) {
      INFO(text_of(placement));
      REQUIRE_FALSE(r);
      CHECK(r.error().code == errc::mismatch);
      CHECK(says(r.error(), "different member tables"));
    }
  }
}

TEST_CASE("a rank that comes to memory where the others have given up hears why, at once") {
  for (const auto& placement : {testing::layout{0, 0, 0}, {0, 1, 0}, {0, 0, 1}, {0, 1, 2}}) {
    INFO(text_of(placement));
    gang team(placement);
    std::vector<std::thread> threads;
    for (std::uint32_t r = 0; r < 2; ++r) {
      threads.emplace_back([&, r] {
        auto members = team.members;
        if (r == 1) members[0].node = "elsewhere";
        CHECK_FALSE(team.process_of(r).meet->join(team.token, r, members, *team.aborts[r], now() + 60s));
      });
    }
    for (auto& t : threads) t.join();
    const auto late = team.join(2, 60s);
    REQUIRE_FALSE(late);
    CHECK(late.error().code == errc::mismatch);
    CHECK(says(late.error(), "different member tables"));
  }
}

TEST_CASE("an abort ends a join at once") {
  for (const auto& placement : placements(3)) {
    gang team(placement);
    std::vector<expected<void>> results(3);
    std::vector<std::thread> threads;
    for (std::uint32_t r = 0; r < 2; ++r) {
      threads.emplace_back([&, r] {
        auto g = team.join(r);
        if (!g) results[r] = unexpected(g.error());
      });
    }
    for (auto& a : team.aborts) a->set({errc::aborted, "revoked", {}, {}});
    for (auto& t : threads) t.join();
    for (std::uint32_t r = 0; r < 2; ++r) {
      REQUIRE_FALSE(results[r]);
      // One that has not been told yet hears it from the other, and of which gang.
      CHECK(results[r].error().code == errc::aborted);
      CHECK(results[r].error().what == "revoked");
    }
  }
}

TEST_CASE("attempts follow each other, and an old or used one is refused") {
  gang team({0, 1});
  const auto first = team.token;
  for (std::uint64_t attempt = 1; attempt <= 20; ++attempt) {
    team.token.attempt.counter = attempt;
    for (const auto& r : team.run([](group& g) { return g.barrier(); })) CHECK_MESSAGE(r, r.error().message());
  }
  const auto again = team.join(0, 1s);
  REQUIRE_FALSE(again);
  CHECK(again.error().code == errc::refused);
  team.token = first;
  const auto old = team.join(0, 1s);
  REQUIRE_FALSE(old);
  CHECK(old.error().code == errc::refused);
}

TEST_CASE("a process that is gone is named by who dials it") {
  for (const bool share : {true, false}) {
    gang team(testing::layout({0, 1}, share ? testing::medium::memory : testing::medium::tcp));
    team.process_of(0).listener.reset();
    const auto g = team.join(1, 10s);
    REQUIRE_FALSE(g);
    INFO(g.error().message());
    CHECK(g.error().code == errc::disconnected);
    CHECK(says(g.error(), "rank 0 on node n0 cannot be reached"));
  }
}

TEST_CASE("tables that make no sense are refused") {
  rendezvous meet({});
  abort_word abort;
  const gang_token token{{}, {{1}, 1}};
  const boot_id here{1};
  const boot_id there{2};
  const auto code = [&](const gang_token& t, std::uint32_t rank, std::vector<gang_member> members) {
    const auto g = meet.join(t, rank, members, abort, now() + 1s);
    return g ? errc::none : g.error().code;
  };
  CHECK(code({}, 0, {{0, here, "", ""}}) == errc::bad_input);
  CHECK(code(token, 0, {}) == errc::bad_input);
  CHECK(code(token, 1, {{0, here, "", ""}}) == errc::bad_input);
  CHECK(code(token, 0, {{1, here, "", ""}}) == errc::bad_input);
  // Another process, and no secret to reach it.
  CHECK(code(token, 0, {{0, here, "", ""}, {1, there, "127.0.0.1:1", ""}}) == errc::bad_input);
  CHECK(code(token, 0, {{0, here, "", ""}}) == errc::none);
}

TEST_CASE("parked sockets: strays are closed and counted, and their number is bounded") {
  rendezvous_options options;
  options.max_parked = 8;
  rendezvous meet(secret::random(), options);
  const boot_id boot{7};
  const gang_token live{{}, {{2}, 5}};
  auto [a, a_far] = sockets();
  meet.accepted(std::move(a), hello_for(live, 1, 0, boot));
  CHECK(meet.parked() == 1);
  CHECK_FALSE(is_closed(a_far));

  // The same pair again, a token that cannot be read, another purpose.
  auto [b, b_far] = sockets();
  meet.accepted(std::move(b), hello_for(live, 1, 0, boot));
  CHECK(is_closed(b_far));
  auto [c, c_far] = sockets();
  auto bad = hello_for(live, 2, 0, boot);
  bad.token.resize(3);
  meet.accepted(std::move(c), bad);
  CHECK(is_closed(c_far));
  CHECK(meet.counters().refused == 2);

  // The attempt is over: what is parked goes, what comes later is a stray.
  meet.forget(live);
  CHECK(is_closed(a_far));
  CHECK(meet.parked() == 0);
  auto [d, d_far] = sockets();
  meet.accepted(std::move(d), hello_for(live, 2, 0, boot));
  CHECK(is_closed(d_far));
  CHECK(meet.counters().strays == 1);

  // At most eight of unknown tokens; the oldest makes room.
  std::vector<unique_fd> far;
  for (std::uint32_t i = 0; i < 20; ++i) {
    auto [x, x_far] = sockets();
    meet.accepted(std::move(x), hello_for({{{}, 1, i, 0}, {{3}, i + 1}}, 1, 0, boot));
    far.push_back(std::move(x_far));
  }
  CHECK(meet.parked() == 8);
  CHECK(is_closed(far.front()));
  CHECK_FALSE(is_closed(far.back()));
  CHECK(meet.counters().expired == 12);
}

TEST_CASE("a socket of another incarnation does not stand for a rank") {
  gang team(testing::layout({0, 1}, testing::medium::tcp));
  auto [near, far] = sockets();
  team.process_of(0).meet->accepted(std::move(near), hello_for(team.token, 1, 0, boot_id{99}));
  const auto g = team.join(0, 200ms);
  REQUIRE_FALSE(g);
  CHECK(g.error().code == errc::timed_out);
  CHECK(is_closed(far));
  CHECK(team.process_of(0).meet->counters().strays == 1);
}
