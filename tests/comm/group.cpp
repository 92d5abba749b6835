#include <hydrogen/base/random.hpp>

#include "gang.hpp"
#include <doctest/doctest.h>

#include <cstring>
#include <mutex>
#include <numeric>

using namespace hydrogen;
using namespace hydrogen::comm;
using testing::gang;
using testing::placements;
using testing::text_of;

namespace {

template <class T>
std::vector<T> values(std::uint64_t seed, std::size_t count) {
  random_source random(seed);
  std::vector<T> x(count);
  for (auto& v : x) v = static_cast<T>((random.unit() - 0.5) * static_cast<double>(1ULL << random.below(40)));
  return x;
}

/// What an all-reduce must give, from the definition: one tree over ranks, split at the largest power of two below.
template <class T>
std::vector<T> reduced(const std::vector<std::vector<T>>& all, reduction how) {
  const std::function<std::vector<T>(std::size_t, std::size_t)> tree = [&](std::size_t from, std::size_t n) {
    if (n == 1) return all[from];
    std::size_t half = 1;
    while (half * 2 < n) half *= 2;
    auto a = tree(from, half);
    const auto b = tree(from + half, n - half);
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (how == reduction::min)
        a[i] = b[i] < a[i] ? b[i] : a[i];
      else if (how == reduction::max)
        a[i] = b[i] > a[i] ? b[i] : a[i];
      else
        a[i] = a[i] + b[i];
    }
    return a;
  };
  auto out = tree(0, all.size());
  if (how == reduction::mean) {
    for (auto& v : out) v = v / static_cast<T>(all.size());
  }
  return out;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

unexpected wrong(std::string what) {
  return fail(errc::internal, std::move(what));
}

/// One call of a random program; every rank and the reference make the same ones from the same seed.
struct step {
  operation what;
  std::size_t count;
  reduction how;
  std::uint32_t root;
  int type;
};

std::size_t random_size(random_source& random, bool large) {
  switch (random.below(large ? 8 : 6)) {
    case 0:
      return 0;
    case 1:
      return 1;
    case 2:
      return 1 + random.below(64);
    case 3:
      return 1000 + random.below(5000);
    case 4:
      return 2 * random.below(3000) + 1;
    case 5:
      return 20000 + random.below(20000);
    default:
      return 280000 + random.below(200000);  // above 1 MiB of floats
  }
}

std::vector<step> random_program(std::uint64_t seed, std::uint32_t ranks, bool large) {
  random_source random(seed);
  std::vector<step> steps(1 + random.below(6));
  for (auto& s : steps) {
    s.what = static_cast<operation>(1 + random.below(4));
    s.count = random_size(random, large);
    s.type = static_cast<int>(random.below(3));
    s.how = static_cast<reduction>(random.below(s.type == 2 ? 3 : 4));
    s.root = static_cast<std::uint32_t>(random.below(ranks));
  }
  return steps;
}

template <class T>
expected<void> check_reduce(group& g, const step& s, std::uint64_t seed) {
  std::vector<std::vector<T>> all;
  for (std::uint32_t r = 0; r < g.size(); ++r) all.push_back(values<T>(hash_mix(seed, r), s.count));
  auto mine = all[g.rank()];
  if (auto ok = g.all_reduce(std::span<T>(mine), s.how); !ok) return ok;
  if (!same_bits(mine, reduced(all, s.how))) return wrong("all_reduce of " + std::to_string(s.count) + " differs");
  return {};
}

byte_buffer bytes_for(std::uint64_t seed, std::size_t count) {
  random_source random(seed);
  byte_buffer out(count);
  for (auto& b : out) b = static_cast<std::byte>(random());
  return out;
}

expected<void> check_step(group& g, const step& s, std::uint64_t seed) {
  switch (s.what) {
    case operation::all_reduce:
      if (s.type == 0) return check_reduce<float>(g, s, seed);
      if (s.type == 1) return check_reduce<double>(g, s, seed);
      return check_reduce<std::int64_t>(g, s, seed);
    case operation::all_gather: {
      const auto size_of_rank = [&](std::uint32_t r) { return hash_mix(seed, r) % (s.count + 1); };
      auto all = g.all_gather(bytes_for(hash_mix(seed, g.rank()), size_of_rank(g.rank())));
      if (!all) return unexpected(all.error());
      if (all->size() != g.size()) return wrong("all_gather gives another number of ranks");
      for (std::uint32_t r = 0; r < g.size(); ++r) {
        if ((*all)[r] != bytes_for(hash_mix(seed, r), size_of_rank(r))) return wrong("all_gather differs");
      }
      return {};
    }
    case operation::broadcast: {
      const auto wanted = bytes_for(seed, s.count);
      auto bytes = g.rank() == s.root ? wanted : bytes_for(1, g.rank());
      if (auto ok = g.broadcast(s.root, bytes); !ok) return ok;
      if (bytes != wanted) return wrong("broadcast differs");
      return {};
    }
    default:
      return g.barrier();
  }
}

}  // namespace

TEST_CASE("all_reduce has the bits of a sequential tree for every placement") {
  for (int ranks = 1; ranks <= 9; ++ranks) {
    // Up to a slot, above it, above one-shot, and (once) more than one piece per owner.
    for (const std::size_t count : {5u, 5000u, ranks == 3 ? 400'000u : 40'000u}) {
      std::vector<std::vector<float>> floats;
      std::vector<std::vector<double>> doubles;
      for (int r = 0; r < ranks; ++r) {
        floats.push_back(values<float>(count * 100 + r, count));
        doubles.push_back(values<double>(count * 100 + r, count));
      }
      const auto float_sum = reduced(floats, reduction::sum);
      const auto float_mean = reduced(floats, reduction::mean);
      const auto double_sum = reduced(doubles, reduction::sum);
      for (const auto& placement : placements(ranks)) {
        gang team(placement);
        const auto results = team.run([&](group& g) -> expected<void> {
          auto x = floats[g.rank()];
          if (auto ok = g.all_reduce(std::span(x), reduction::sum); !ok) return ok;
          if (!same_bits(x, float_sum)) return wrong("sum of floats");
          x = floats[g.rank()];
          if (auto ok = g.all_reduce(std::span(x), reduction::mean); !ok) return ok;
          if (!same_bits(x, float_mean)) return wrong("mean of floats");
          auto y = doubles[g.rank()];
          if (auto ok = g.all_reduce(std::span(y), reduction::sum); !ok) return ok;
          return same_bits(y, double_sum) ? expected<void>() : wrong("sum of doubles");
        });
        for (std::uint32_t r = 0; r < team.size(); ++r) {
          INFO(text_of(placement), ", count ", count, ", rank ", r);
          CHECK_MESSAGE(results[r], results[r].error().message());
        }
      }
    }
  }
}

TEST_CASE("large all_reduce over TCP: many pieces per owner") {
  gang team(testing::layout({0, 1, 1}, false));
  const auto results = team.run([&](group& g) {
    return check_reduce<float>(g, {operation::all_reduce, 1'000'001, reduction::sum, 0, 0}, 5);
  });
  for (const auto& r : results) CHECK_MESSAGE(r, r.error().message());
}

TEST_CASE("random programs give what a sequential run gives") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    random_source random(seed);
    const int ranks = 1 + static_cast<int>(random.below(6));
    const auto all = placements(ranks);
    const auto placement = all[random.below(all.size())];
    gang team(placement);
    const auto program = random_program(seed * 1000, team.size(), seed % 10 == 0);
    const auto results = team.run([&](group& g) -> expected<void> {
      for (std::size_t i = 0; i < program.size(); ++i) {
        if (auto ok = check_step(g, program[i], hash_mix(seed, i)); !ok) return ok;
      }
      return {};
    });
    for (std::uint32_t r = 0; r < team.size(); ++r) {
      INFO("seed ", seed, ", ", text_of(placement), ", rank ", r);
      CHECK_MESSAGE(results[r], results[r].error().message());
    }
  }
}

TEST_CASE("many calls in a row with ranks that run ahead") {
  for (const auto& placement : placements(4)) {
    gang team(placement);
    const auto results = team.run([&](group& g) -> expected<void> {
      for (int i = 0; i < 500; ++i) {
        std::vector<std::int64_t> x{i, static_cast<std::int64_t>(g.rank())};
        if (auto ok = g.all_reduce(std::span(x), reduction::sum); !ok) return ok;
        if (x != std::vector<std::int64_t>{4 * i, 6}) return wrong("sum differs in call " + std::to_string(i));
        if (i % 7 == 0) {
          if (auto ok = g.barrier(); !ok) return ok;
        }
      }
      return {};
    });
    for (const auto& r : results) {
      INFO(text_of(placement));
      CHECK_MESSAGE(r, r.error().message());
    }
  }
}

TEST_CASE("wrong arguments are refused and break nothing") {
  gang team({0, 0});
  const auto results = team.run([&](group& g) -> expected<void> {
    std::vector<std::int64_t> x{1};
    const auto mean = g.all_reduce(std::span(x), reduction::mean);
    if (mean || mean.error().code != errc::bad_input) return wrong("mean of integers");
    byte_buffer b;
    const auto root = g.broadcast(2, b);
    if (root || root.error().code != errc::bad_input) return wrong("root");
    return g.barrier();
  });
  for (const auto& r : results) CHECK_MESSAGE(r, r.error().message());
}

TEST_CASE("a group of one needs nobody") {
  gang team({0});
  const auto results = team.run([&](group& g) {
    return check_reduce<double>(g, {operation::all_reduce, 100, reduction::mean, 0, 1}, 3);
  });
  CHECK(results[0]);
}
