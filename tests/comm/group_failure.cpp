// What happens to the others when a rank does something else, nothing, leaves, dies, or is told to stop.
#include "gang.hpp"
#include <doctest/doctest.h>

#include <latch>

using namespace hydrogen;
using namespace hydrogen::comm;
using testing::gang;
using testing::node_of;
using testing::placements;
using testing::text_of;

namespace {

using call = std::function<expected<void>(group&)>;

const call barrier = [](group& g) { return g.barrier(); };
call reduce_of(std::size_t count, reduction how = reduction::sum) {
  return [=](group& g) {
    std::vector<float> x(count, 1.0f);
    return g.all_reduce(std::span(x), how);
  };
}
call reduce_of_doubles(std::size_t count) {
  return [=](group& g) {
    std::vector<double> x(count, 1.0);
    return g.all_reduce(std::span(x), reduction::sum);
  };
}
call gather_of(std::size_t bytes) {
  return [=](group& g) -> expected<void> {
    auto all = g.all_gather(byte_buffer(bytes));
    if (!all) return unexpected(all.error());
    return {};
  };
}
call broadcast_of(std::size_t bytes, std::uint32_t root) {
  return [=](group& g) {
    byte_buffer b(g.rank() == root ? bytes : 0);
    return g.broadcast(root, b);
  };
}

call reduce_to(std::uint32_t root, std::size_t count) {
  return [=](group& g) {
    std::vector<std::int32_t> x(count, 1);
    return g.reduce(root, std::span(x), reduction::product);
  };
}
call shares_of(std::size_t count) {
  return [=](group& g) {
    std::vector<half> x(count, half(1.0f));
    return g.reduce_scatter(std::span(x), reduction::mean);
  };
}
call scatter_of(std::size_t bytes) {
  return [=](group& g) -> expected<void> {
    const byte_buffer b(bytes);
    auto mine = g.scatter(1, std::vector<byte_view>(g.rank() == 1 ? g.size() : 0, b));
    if (!mine) return unexpected(mine.error());
    return {};
  };
}
call all_to_all_of(std::size_t bytes) {
  return [=](group& g) -> expected<void> {
    const byte_buffer b(bytes);
    auto all = g.all_to_all(std::vector<byte_view>(g.size(), b));
    if (!all) return unexpected(all.error());
    return {};
  };
}
/// In a subgroup of the same ranks, and by another thread.
call of_a_subgroup(std::size_t count) {
  return [=](group& g) -> expected<void> {
    std::vector<std::uint32_t> everyone;
    for (std::uint32_t r = 0; r < g.size(); ++r) everyone.push_back(r);
    auto some = g.subgroup(everyone);
    if (!some) return unexpected(some.error());
    std::vector<double> x(count, 1.0);
    return (*some)->all_reduce_async(std::span(x), reduction::max).wait();
  };
}

bool says(const expected<void>& r, std::string_view text) {
  return !r && r.error().message().find(text) != std::string::npos;
}

/// All calls of this suite that have to wait for others.
std::vector<call> waiting_calls() {
  return {barrier,
          reduce_of(10),
          reduce_of(400'000),
          gather_of(10),
          gather_of(2'000'000),
          broadcast_of(10, 0),
          broadcast_of(2'000'000, 0),
          reduce_to(0, 10),
          reduce_to(1, 400'000),
          shares_of(10),
          shares_of(400'000),
          scatter_of(10),
          scatter_of(400'000),
          all_to_all_of(10),
          all_to_all_of(400'000),
          of_a_subgroup(10),
          of_a_subgroup(400'000)};
}

}  // namespace

TEST_CASE("ranks that call different things all fail and name both calls") {
  struct kind {
    call usual;
    call odd;
    std::string usual_text;
    std::string odd_text;
  };
  const std::vector<kind> kinds{
      {reduce_of(10), barrier, "all_reduce(float x 10, sum) at group_failure.cpp", "barrier() at group_failure.cpp"},
      {reduce_of(10), reduce_of(11), "all_reduce(float x 10, sum)", "all_reduce(float x 11, sum)"},
      {reduce_of(400'000), reduce_of(400'001), "float x 400000", "float x 400001"},
      {reduce_of(2'000'000), barrier, "float x 2000000", "barrier()"},
      {barrier, reduce_of(2'000'000), "barrier()", "float x 2000000"},
      {reduce_of(10), reduce_of_doubles(10), "float x 10", "double x 10"},
      {reduce_of(10), reduce_of(10, reduction::max), "sum", "max"},
      {broadcast_of(3'000'000, 0), broadcast_of(10, 1), "broadcast(root 0)", "broadcast(root 1)"},
      {gather_of(3'000'000), broadcast_of(10, 0), "all_gather()", "broadcast(root 0)"},
      {shares_of(400'000), reduce_to(2, 400'000), "reduce_scatter(half x 400000, mean)", "reduce(root 2, int32"},
      {scatter_of(100'000), all_to_all_of(100'000), "scatter(root 1)", "all_to_all()"},
  };
  for (const auto& k : kinds) {
    for (const auto& placement : placements(3)) {
      for (std::uint32_t odd = 0; odd < 3; ++odd) {
        gang team(placement);
        const auto results = team.run([&](group& g) -> expected<void> {
          if (auto ok = g.barrier(); !ok) return ok;
          auto result = g.rank() == odd ? k.odd(g) : k.usual(g);
          // Broken from now on, with the same error.
          const auto again = g.barrier();
          if (again || result || again.error() != result.error())
            return fail(errc::internal, "the group is not broken");
          return result;
        });
        for (std::uint32_t r = 0; r < 3; ++r) {
          INFO(text_of(placement), ", rank ", r, ": ", results[r] ? "no error" : results[r].error().message());
          REQUIRE_FALSE(results[r]);
          CHECK(results[r].error().code == errc::mismatch);
          CHECK(says(results[r], k.usual_text));
          CHECK(says(results[r], k.odd_text));
          CHECK(says(results[r], "rank " + std::to_string(odd) + " "));
        }
      }
    }
  }
}

TEST_CASE("the same call from two places is a mismatch") {
  for (const auto& placement : placements(2)) {
    gang team(placement);
    const auto results = team.run([&](group& g) { return g.rank() == 0 ? g.barrier() : barrier(g); });
    for (const auto& r : results) CHECK((!r && r.error().code == errc::mismatch));
  }
}

TEST_CASE("a rank that does not come is named at the deadline, with its last call") {
  const auto all = placements(4);
  std::vector<std::vector<expected<void>>> results(all.size());
  // Side by side, since each has to wait for its deadline.
  std::vector<std::thread> gangs;
  for (std::size_t i = 0; i < all.size(); ++i) {
    gangs.emplace_back([&, i] {
      gang team(all[i]);
      std::latch over(3);
      results[i] = team.run([&](group& g) -> expected<void> {
        if (auto ok = reduce_of(3)(g); !ok) return ok;
        if (g.rank() == 3) {
          over.wait();
          return {};
        }
        auto result = g.barrier(call_options(std::source_location::current(), 1500ms));
        over.count_down();
        return result;
      });
    });
  }
  for (auto& t : gangs) t.join();
  for (std::size_t i = 0; i < all.size(); ++i) {
    CHECK(results[i][3]);
    for (std::uint32_t r = 0; r < 3; ++r) {
      const auto& result = results[i][r];
      INFO(text_of(all[i]), ", rank ", r, ": ", result ? "no error" : result.error().message());
      REQUIRE_FALSE(result);
      CHECK(result.error().code == errc::timed_out);
      CHECK(says(result, rank_on_node(3, node_of(all[i], 3)) + " has not arrived at barrier() at group_failure.cpp"));
      CHECK(says(result, "its last call was all_reduce(float x 3, sum)"));
      // Past one host whoever names it knows of those who share memory with it, or of who speaks for these.
      if (!all[i].hosts.empty()) continue;
      CHECK(says(result, " s ago"));
      CHECK(says(result, "within 1.5 s"));
      CHECK(says(result, "ranks 0, 1 and 2 wait there"));
    }
  }
}

TEST_CASE("a rank that returned early is named at once, in every kind of call") {
  for (const auto& next : waiting_calls()) {
    for (const auto& placement : placements(3)) {
      gang team(placement);
      const auto results = team.run([&](group& g) -> expected<void> {
        if (auto ok = reduce_of(3)(g); !ok) return ok;
        if (g.rank() == 1) return {};
        return next(g);
      });
      CHECK(results[1]);
      for (const std::uint32_t r : {0u, 2u}) {
        INFO(text_of(placement), ", rank ", r, ": ", results[r] ? "no error" : results[r].error().message());
        REQUIRE_FALSE(results[r]);
        CHECK(results[r].error().code == errc::disconnected);
        // Past one host some links have seen few calls.
        CHECK(says(results[r], placement.hosts.empty()
                                   ? "rank 1 left after call 1 (all_reduce(float x 3, sum) at group_failure.cpp"
                                   : "rank 1 left"));
      }
    }
  }
}

TEST_CASE("ranks that return after the last call disturb nobody") {
  for (int round = 0; round < 20; ++round) {
    for (const auto& placement : placements(3)) {
      gang team(placement);
      const auto results = team.run([&](group& g) { return reduce_of(g.size() * 1000 * (1 + round))(g); });
      for (const auto& r : results) CHECK_MESSAGE(r, r.error().message());
    }
  }
}

TEST_CASE("an abort ends every kind of call at once with its reason") {
  for (const auto& next : waiting_calls()) {
    for (const auto& placement : placements(3)) {
      gang team(placement);
      std::latch waiting(3);
      std::latch over(2);
      std::thread stopper([&] {
        waiting.wait();
        for (auto& a : team.aborts) a->set({errc::cancelled, "stop it", "here", {}});
      });
      const auto results = team.run([&](group& g) -> expected<void> {
        if (auto ok = g.barrier(); !ok) return ok;
        waiting.count_down();
        if (g.rank() == 2) {
          over.wait();
          return {};
        }
        auto result = next(g);
        over.count_down();
        return result;
      });
      stopper.join();
      for (const std::uint32_t r : {0u, 1u}) {
        INFO(text_of(placement), ", rank ", r, ": ", results[r] ? "no error" : results[r].error().message());
        REQUIRE_FALSE(results[r]);
        CHECK(results[r].error().what == "stop it");
        CHECK(results[r].error().code == errc::cancelled);
      }
    }
  }
}

TEST_CASE("an abort in the middle of running calls leaves no rank behind") {
  for (int round = 0; round < 12; ++round) {
    for (const auto& placement : placements(3)) {
      gang team(placement);
      std::atomic<int> calls{0};
      const auto results = team.run([&](group& g) -> expected<void> {
        for (;;) {
          // Any rank may be the one that stops everybody, at any point of the others' calls.
          if (calls.fetch_add(1) == 10 + 3 * round) {
            for (auto& a : team.aborts) a->set({errc::aborted, "now", {}, {}});
          }
          if (auto ok = reduce_of(round % 2 == 0 ? 100 : 100'000)(g); !ok) return ok;
        }
      });
      for (const auto& r : results) {
        INFO(text_of(placement), ": ", r ? "no error" : r.error().message());
        CHECK((!r && r.error().code == errc::aborted));
      }
    }
  }
}
