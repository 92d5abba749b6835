// Groups of some ranks of a gang, sending between two, buffers of the gang, and calls that are made later.
#include "gang.hpp"
#include <doctest/doctest.h>
#include <unistd.h>

#include <atomic>
#include <latch>
#include <thread>

using namespace hydrogen;
using namespace hydrogen::comm;
using testing::await_sleep;
using testing::gang;
using testing::placements;
using testing::text_of;

namespace {

bool says(const expected<void>& r, std::string_view text) {
  return !r && r.error().message().find(text) != std::string::npos;
}

unexpected wrong(std::string what) {
  return fail(errc::internal, std::move(what));
}

void check_all(const std::vector<expected<void>>& results, const testing::layout& placement) {
  for (std::uint32_t r = 0; r < results.size(); ++r) {
    INFO(text_of(placement), ", rank ", r);
    CHECK_MESSAGE(results[r], results[r].error().message());
  }
}

template <class Group>
expected<void> outcome(expected<Group> made) {
  if (!made) return unexpected(made.error());
  return {};
}

}  // namespace

TEST_CASE("ranks that use groups in different orders all fail and name both calls") {
  for (const auto& placement : placements(3)) {
    gang team(placement);
    const auto results = team.run([&](group& g) -> expected<void> {
      auto all = g.subgroup(std::vector<std::uint32_t>{0, 1, 2});
      if (!all) return unexpected(all.error());
      std::unique_ptr<group> two;
      if (g.rank() != 2) {
        auto made = g.subgroup(std::vector<std::uint32_t>{0, 1});
        if (!made) return unexpected(made.error());
        two = std::move(*made);
      }
      // Rank 2 is in the first one alone, and learns of it all the same.
      std::vector<float> x(3);
      if (g.rank() != 1) {
        if (auto ok = (*all)->barrier(); !ok) return ok;
        return two ? two->all_reduce(std::span(x), reduction::sum) : expected<void>();
      }
      if (auto ok = two->all_reduce(std::span(x), reduction::sum); !ok) return ok;
      return (*all)->barrier();
    });
    for (std::uint32_t r = 0; r < 3; ++r) {
      INFO(text_of(placement), ", rank ", r, ": ", results[r] ? "no error" : results[r].error().message());
      REQUIRE_FALSE(results[r]);
      CHECK(results[r].error().code == errc::mismatch);
      CHECK(says(results[r], "barrier() of ranks 0, 1 and 2 at subgroups.cpp"));
      CHECK(says(results[r], "all_reduce(float x 3, sum) of ranks 0 and 1 at subgroups.cpp"));
    }
  }
}

TEST_CASE("a rank that waits in the whole gang for one that waits in a group is told, whoever waits first") {
  enum class second { call_of_a_group, group, pair };
  for (const auto& placement : placements(2)) {
    for (const bool is_rank_0_asleep : {true, false}) {
      for (const auto what : {second::call_of_a_group, second::group, second::pair}) {
        gang team(placement);
        std::atomic<pid_t> thread{0};
        const auto results = team.run([&](group& g) -> expected<void> {
          std::vector<float> x(10);
          std::unique_ptr<group> both;
          if (what == second::call_of_a_group) {
            auto made = g.subgroup(std::vector<std::uint32_t>{0, 1});
            if (!made) return unexpected(made.error());
            both = std::move(*made);
          }
          const bool is_first = is_rank_0_asleep == (g.rank() == 0);
          if (is_first) thread = ::gettid();
          if (!is_first) await_sleep(thread);
          if (g.rank() == 0) return g.barrier();
          if (what == second::pair) return g.receive(0, std::span(x));
          if (what == second::group) {
            auto made = g.subgroup(std::vector<std::uint32_t>{0, 1});
            if (!made) return unexpected(made.error());
            both = std::move(*made);
          }
          return both->barrier();
        });
        for (std::uint32_t r = 0; r < 2; ++r) {
          INFO(text_of(placement), ", rank ", r, ": ", results[r] ? "no error" : results[r].error().message());
          CHECK((!results[r] && results[r].error().code == errc::mismatch));
          CHECK(says(results[r], "rank 0 barrier() at"));
        }
      }
    }
  }
}

TEST_CASE("a rank that begins a group that the other, which waits in one of theirs, has not begun is told") {
  for (const auto& placement : placements(2)) {
    gang team(placement);
    std::atomic<pid_t> thread{0};
    const auto results = team.run([&](group& g) -> expected<void> {
      auto made = g.subgroup(std::vector<std::uint32_t>{0, 1});
      if (!made) return unexpected(made.error());
      if (g.rank() == 0) {
        thread = ::gettid();
        return (*made)->barrier();
      }
      await_sleep(thread);
      auto other = g.subgroup(std::vector<std::uint32_t>{0, 1});
      return other ? (*other)->barrier() : unexpected(other.error());
    });
    for (std::uint32_t r = 0; r < 2; ++r) {
      INFO(text_of(placement), ", rank ", r, ": ", results[r] ? "no error" : results[r].error().message());
      CHECK((!results[r] && results[r].error().code == errc::mismatch));
      CHECK(says(results[r], "rank 0 barrier() of ranks 0 and 1 at"));
    }
  }
}

TEST_CASE("two ranks that both send, or pass different numbers, fail and name both calls") {
  for (const auto& placement : placements(2)) {
    for (const bool both_send : {true, false}) {
      gang team(placement);
      const auto results = team.run([&](group& g) -> expected<void> {
        std::vector<float> x(10 + g.rank());
        if (g.rank() == 0) return g.send(1, std::span(x));
        return both_send ? g.send(0, std::span(x)) : g.receive(0, std::span(x));
      });
      for (std::uint32_t r = 0; r < 2; ++r) {
        INFO(text_of(placement), ", rank ", r, ": ", results[r] ? "no error" : results[r].error().message());
        CHECK((!results[r] && results[r].error().code == errc::mismatch));
        CHECK(says(results[r], "send from rank 0 to rank 1, float x 10 at subgroups.cpp"));
        CHECK(says(results[r], both_send ? "send from rank 1 to rank 0" : "send from rank 0 to rank 1, float x 11"));
      }
    }
  }
}

TEST_CASE("groups, pairs and the whole gang take turns") {
  for (const auto& placement : placements(4)) {
    gang team(placement);
    check_all(team.run([&](group& g) -> expected<void> {
      const std::uint32_t side = g.rank() % 2;
      auto mine = g.subgroup(std::vector<std::uint32_t>{side, side + 2});
      if (!mine) return unexpected(mine.error());
      for (std::int64_t i = 0; i < 200; ++i) {
        std::vector<std::int64_t> x{i + g.rank()};
        if (auto ok = (*mine)->all_reduce(std::span(x), reduction::sum); !ok) return ok;
        if (x[0] != 2 * i + 2 * side + 2) return wrong("the sum of a group");
        const auto other = g.rank() ^ 1u;
        if (g.rank() < other) {
          if (auto ok = g.send(other, std::span(x)); !ok) return ok;
        } else {
          if (auto ok = g.receive(other, std::span(x)); !ok) return ok;
          if (x[0] != 2 * i + 2) return wrong("what was sent");
        }
        if (i % 10 == 0) {
          if (auto ok = g.barrier(); !ok) return ok;
        }
      }
      return g.barrier();
    }),
              placement);
  }
}

TEST_CASE("the same ranks make a group again and again, and groups of groups") {
  for (const auto& placement : placements(4)) {
    gang team(placement);
    check_all(team.run([&](group& g) -> expected<void> {
      for (int i = 0; i < 8; ++i) {
        auto three =
            g.rank() == 0 ? g.subgroup(std::vector<std::uint32_t>{0}) : g.subgroup(std::vector<std::uint32_t>{1, 2, 3});
        if (!three) return unexpected(three.error());
        if (g.rank() > 1) {
          auto two = (*three)->subgroup(std::vector<std::uint32_t>{1, 2});
          if (!two) return unexpected(two.error());
          std::vector<std::int32_t> x{static_cast<std::int32_t>(g.rank())};
          if (auto ok = (*two)->reduce(1, std::span(x), reduction::product); !ok) return ok;
          if (x[0] != (g.rank() == 3 ? 6 : 2)) return wrong("a product in a group of a group");
        }
        if (auto ok = (*three)->barrier(); !ok) return ok;
      }
      return g.barrier();
    }),
              placement);
  }
}

TEST_CASE("calls that are made later come in their order, and the first error counts for all") {
  for (const auto& placement : placements(2)) {
    gang team(placement);
    const auto results = team.run([&](group& g) -> expected<void> {
      std::vector<std::vector<double>> x(20, std::vector<double>(1000, 1.0));
      std::vector<pending> open;
      for (auto& v : x) open.push_back(g.all_reduce_async(std::span(v), reduction::sum));
      // Waits for those before it.
      if (auto ok = g.barrier(); !ok) return ok;
      for (std::size_t i = 0; i < x.size(); ++i) {
        if (!open[i].is_done() || !open[i].wait() || x[i][999] != 2.0) return wrong("a call of before is not done");
      }
      std::vector<float> y(g.rank() + 1);
      auto bad = g.all_reduce_async(std::span(y), reduction::sum);
      auto next = g.barrier_async();
      const auto first = bad.wait();
      if (first || next.wait() || next.wait().error() != first.error()) return wrong("a broken gang went on");
      return first;
    });
    for (std::uint32_t r = 0; r < 2; ++r) {
      INFO(text_of(placement), ": ", results[r] ? "no error" : results[r].error().message());
      CHECK((!results[r] && results[r].error().code == errc::mismatch));
    }
  }
}

TEST_CASE("a rank that leaves the gang, or an abort, ends waits in a group, also those of its beginning") {
  for (const auto& placement : placements(3)) {
    for (const bool is_abort : {true, false}) {
      gang team(placement);
      std::latch waiting(3), over(2);
      std::thread stopper([&] {
        waiting.wait();
        for (auto& a : team.aborts) {
          if (is_abort) a->set({errc::cancelled, "stop it", {}, {}});
        }
      });
      const auto results = team.run([&](group& g) -> expected<void> {
        // Over links it can fail: rank 0 may have left, and rank 1 have said so.
        auto ready = g.barrier();
        waiting.count_down();
        if (!ready && g.rank() != 0) over.count_down();
        if (!ready) return ready;
        // Rank 0 would have to begin it.
        if (g.rank() == 0) {
          if (is_abort) over.wait();
          return {};
        }
        auto made = g.subgroup(std::vector<std::uint32_t>{0, 1, 2});
        auto ok = made ? (*made)->barrier() : expected<void>(unexpected(made.error()));
        over.count_down();
        return ok;
      });
      stopper.join();
      for (const std::uint32_t r : {1u, 2u}) {
        INFO(text_of(placement), ", rank ", r, ": ", results[r] ? "no error" : results[r].error().message());
        REQUIRE_FALSE(results[r]);
        CHECK(results[r].error().code == (is_abort ? errc::cancelled : errc::disconnected));
      }
    }
  }
}

TEST_CASE("wrong ranks of a group, roots, parts and buffers are refused and break nothing") {
  gang team({0, 0, 0});
  const auto is_refused = [](const expected<void>& r) { return !r && r.error().code == errc::bad_input; };
  check_all(team.run([&](group& g) -> expected<void> {
    using ranks = std::vector<std::uint32_t>;
    for (const auto& some :
         {ranks{}, ranks{2, 1, 0}, ranks{0, 1, 2, 3}, ranks{(g.rank() + 1) % 3}, ranks{0, 0, 1, 2}}) {
      if (!is_refused(outcome(g.subgroup(some)))) return wrong("a group of wrong ranks");
    }
    std::vector<float> x(4);
    std::vector<std::int32_t> n(4);
    if (!is_refused(g.reduce(3, std::span(x), reduction::sum))) return wrong("root");
    if (!is_refused(g.all_reduce(std::span(n), reduction::mean))) return wrong("mean");
    if (!is_refused(g.all_reduce(std::span(x), static_cast<reduction>(9)))) return wrong("reduction");
    if (!is_refused(g.send(g.rank(), std::span(x)))) return wrong("to itself");
    if (!is_refused(g.receive(7, std::span(x)))) return wrong("from nobody");
    if (!is_refused(outcome(g.all_to_all({})))) return wrong("parts");
    if (!is_refused(outcome(g.scatter((g.rank() + 1) % 3, std::vector<byte_view>(3)))))
      return wrong("parts of another");
    if (!is_refused(g.all_reduce_async(std::span(n), reduction::mean).wait())) return wrong("mean, later");
    auto some = g.subgroup(ranks{0, 1, 2});
    if (!some) return unexpected(some.error());
    if (!is_refused(outcome((*some)->buffer<float>(3)))) return wrong("a buffer of a group");
    return g.barrier();
  }),
            {0, 0, 0});
}

TEST_CASE("a gang buffer that does not fit is refused for all ranks and breaks nothing") {
  for (const auto between : {testing::medium::memory, testing::medium::stages}) {
    const testing::layout placement({0, 1}, between);
    gang team(placement);
    check_all(team.run([&](group& g) -> expected<void> {
      const auto absurd = g.buffer<double>((std::size_t{1} << 61) + 1);  // its bytes do not fit a number
      if (absurd || absurd.error().code != errc::over_limit) return wrong("a buffer of 16 EiB");
      const auto large = g.buffer<double>(g.rank() == 0 ? std::size_t{1} << 35 : 1);
      if (large || large.error().code != errc::over_limit) return wrong("a buffer of 256 GiB");
      auto small = g.buffer<double>(100'000);
      if (!small) return unexpected(small.error());
      std::fill(small->begin(), small->end(), 1.0);
      if (auto ok = g.all_reduce(small->span(), reduction::sum); !ok) return ok;
      return (*small)[99'999] == 2.0 ? expected<void>() : wrong("the sum in a gang buffer");
    }),
              placement);
  }
}
