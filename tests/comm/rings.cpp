// Ranks that wait for each other in a ring, each in another call, and correct programs that must not be taken for one.
#include <hydrogen/base/random.hpp>

#include "gang.hpp"
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::testing;

namespace {

using some_ranks = std::vector<std::uint32_t>;

some_ranks two_ranks(std::uint32_t a, std::uint32_t b) {
  return {std::min(a, b), std::max(a, b)};
}

/// What closes the ring: all are in groups of two; rank 0 is in a call of the whole gang; the last rank begins another
/// group; all send to the next one.
enum class closing { group, whole, beginning, transfer };

/// Each rank of the ring waits for the next; those after it wait in the whole gang for all.
expected<void> go_round(group& g, std::uint32_t size, closing how, const std::function<void()>& before_waiting) {
  std::vector<std::unique_ptr<group>> pairs(size);
  for (std::uint32_t i = 0; i < size; ++i) {
    const auto next = (i + 1) % size;
    if (g.rank() != i && g.rank() != next) continue;
    auto made = g.subgroup(two_ranks(i, next));
    if (!made) return unexpected(made.error());
    pairs[i] = std::move(*made);
  }
  if (auto ok = g.barrier(); !ok) return ok;
  before_waiting();
  if (g.rank() >= size || (g.rank() == 0 && how == closing::whole)) return g.barrier();
  const auto next = (g.rank() + 1) % size;
  if (how == closing::transfer) {
    const float x = 1;
    return g.send(next, std::span(&x, 1));
  }
  if (next == 0 && how == closing::beginning) {
    auto made = g.subgroup(two_ranks(g.rank(), next));
    return made ? (*made)->barrier() : unexpected(made.error());
  }
  return pairs[g.rank()]->barrier();
}

std::string call_in_ring(std::uint32_t rank, std::uint32_t size, closing how) {
  const auto next = (rank + 1) % size;
  const auto who = "rank " + std::to_string(rank) + " ";
  if (how == closing::transfer)
    return who + "send from rank " + std::to_string(rank) + " to rank " + std::to_string(next);
  // One outside of the ring may be in it, too, and be named.
  if (rank == 0 && how == closing::whole) return "barrier() at rings.cpp";
  return (next == 0 && how == closing::beginning ? std::string() : who + "barrier()") + " of " +
         rank_list(two_ranks(rank, next)) + " at rings.cpp";
}

/// Rank `order[i]` goes to wait when those before it are asleep.
void check_ring(const layout& placement, std::uint32_t size, closing how, const some_ranks& order) {
  gang team(placement);
  std::array<std::atomic<pid_t>, 8> threads{};
  const auto results = team.run([&](group& g) {
    return go_round(g, size, how, [&] {
      for (const auto r : order) {
        if (r == g.rank()) break;
        await_sleep(threads[r]);
      }
      threads[g.rank()] = ::gettid();
    });
  });
  for (std::uint32_t r = 0; r < team.size(); ++r) {
    INFO(text_of(placement), ", a ring of ", size, " closed by ", static_cast<int>(how), ", last ", order.back(),
         ", rank ", r, ": ", results[r] ? "no error" : results[r].error().message());
    REQUIRE_FALSE(results[r]);
    CHECK(results[r].error().code == errc::mismatch);
    for (std::uint32_t in = 0; in < size; ++in) {
      // Who is in a call of the whole waits for the last one at once, and the others are in no ring.
      if (how == closing::whole && in != 0 && in + 1 != size) continue;
      CHECK(results[r].error().what.find(call_in_ring(in, size, how)) != std::string::npos);
    }
  }
}

constexpr std::array ways_to_close{closing::group, closing::whole, closing::beginning, closing::transfer};

bool is_one_area(const layout& placement) {
  const bool shares_memory = placement.between == medium::memory || placement.between == medium::stages;
  return std::all_of(placement.hosts.begin(), placement.hosts.end(), [](int h) { return h == 0; }) &&
         (shares_memory || *std::max_element(placement.begin(), placement.end()) == 0);
}

}  // namespace

TEST_CASE("a ring of three fails at once and names all its calls, in whatever order they come, and outside of it too") {
  for (const int count : {3, 4}) {
    for (const auto& placement : placements(count)) {
      for (const auto how : ways_to_close) {
        std::vector<some_ranks> orders{{0, 1, 2}, {0, 2, 1}, {1, 2, 0}, {1, 0, 2}, {2, 0, 1}, {2, 1, 0}};
        // Over links each takes what ranks wait before they tell: whoever is the last one, once.
        if (!is_one_area(placement)) orders.resize(3);
        for (auto& all : orders) {
          // The one outside of it waits first.
          if (count > 3) all.insert(all.begin(), 3);
          check_ring(placement, 3, how, all);
        }
      }
    }
  }
}

TEST_CASE("a ring of four fails at once and names all its calls") {
  for (const auto& placement : placements(4)) {
    for (const auto how : ways_to_close) {
      for (const auto& order :
           {some_ranks{0, 1, 2, 3}, some_ranks{3, 2, 1, 0}, some_ranks{1, 3, 0, 2}, some_ranks{2, 0, 3, 1}}) {
        check_ring(placement, 4, how, order);
      }
    }
  }
}

TEST_CASE("of more groups than a board lists none is taken for a ring, and a ring of late ones is found") {
  for (const auto& placement : placements(3)) {
    if (!is_one_area(placement)) continue;
    for (const bool crosses_early_one : {false, true}) {
      gang team(placement);
      const auto results = team.run([&](group& g) -> expected<void> {
        std::vector<std::unique_ptr<group>> early;
        for (std::uint32_t i = 0; i < 40; ++i) {
          const auto left_out = i % 3;
          if (g.rank() == left_out) continue;
          auto made = g.subgroup(two_ranks((left_out + 1) % 3, (left_out + 2) % 3));
          if (!made) return unexpected(made.error());
          early.push_back(std::move(*made));
        }
        for (int round = 0; round < 3; ++round) {
          for (const auto& e : early) {
            if (auto ok = e->barrier(); !ok) return ok;
          }
        }
        if (auto ok = g.barrier(); !ok) return fail(errc::internal, ok.error().message());
        if (!crosses_early_one) return go_round(g, 3, closing::group, [] {});
        // Groups that fell off, of two ranks: each knows its own calls.
        return g.rank() == 1 ? early[1]->barrier() : g.barrier();
      });
      for (std::uint32_t r = 0; r < 3; ++r) {
        INFO(text_of(placement), ", rank ", r, ": ", results[r] ? "no error" : results[r].error().message());
        REQUIRE_FALSE(results[r]);
        CHECK(results[r].error().code == errc::mismatch);
      }
    }
  }
}

TEST_CASE("correct programs of many groups that overlap are never taken for a ring") {
  const char* wanted = std::getenv("HYDROGEN_TEST_PROGRAMS");
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  constexpr int usual = 2;
#else
  constexpr int usual = 10;
#endif
  const auto seeds = static_cast<std::uint64_t>(wanted != nullptr ? std::atoi(wanted) : usual);
  for (const int count : {3, 4, 6}) {
    for (const auto& placement : placements(count)) {
      const bool is_fast = is_one_area(placement);
      for (std::uint64_t seed = 1; seed <= (is_fast ? seeds : (seeds + 9) / 10); ++seed) {
        gang team(placement);
        const auto results = team.run([&](group& g) -> expected<void> {
          random_source same(seed * 100 + static_cast<std::uint64_t>(count)), own(seed * 1000 + g.rank());
          std::vector<std::unique_ptr<group>> groups;
          for (int step = 0; step < (is_fast ? 300 : 100); ++step) {
            // For longer than it takes until ranks tell each other over links that they wait.
            if (!is_fast && own.below(100) == 0) std::this_thread::sleep_for(120ms);
            if (own.below(8) == 0) {
              for (auto n = own.below(50); n > 0; --n) std::this_thread::yield();
            }
            const auto what = same.below(10);
            const auto a = static_cast<std::uint32_t>(same.below(g.size()));
            const auto b = static_cast<std::uint32_t>((a + 1 + same.below(g.size() - 1)) % g.size());
            const auto which = same.below(8);
            some_ranks some;
            for (std::uint32_t r = 0; r < g.size(); ++r) {
              if (r == a || r == b || same.below(3) == 0) some.push_back(r);
            }
            expected<void> ok;
            if (what == 0) {
              ok = g.barrier();
            } else if (what == 1 && groups.size() < 8) {
              groups.emplace_back();
              if (std::find(some.begin(), some.end(), g.rank()) == some.end()) continue;
              auto made = g.subgroup(some);
              if (!made) return unexpected(made.error());
              groups.back() = std::move(*made);
            } else if (what < 4) {
              float x = 0;
              if (g.rank() == a) ok = g.send(b, std::span<const float>(&x, 1));
              if (g.rank() == b) ok = g.receive(a, std::span(&x, 1));
            } else if (which < groups.size() && groups[which]) {
              ok = groups[which]->barrier();
            }
            if (!ok) return ok;
          }
          // Nobody leaves a group that another still waits in.
          return g.barrier();
        });
        for (std::uint32_t r = 0; r < team.size(); ++r) {
          INFO(text_of(placement), ", seed ", seed, ", rank ", r);
          CHECK_MESSAGE(results[r], results[r].error().message());
        }
      }
    }
  }
}
