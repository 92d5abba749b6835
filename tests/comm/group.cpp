#include "gang.hpp"
#include "reference.hpp"
#include <doctest/doctest.h>

using namespace hydrogen;
using namespace hydrogen::comm;
using testing::gang;
using testing::placements;
using testing::reduced;
using testing::same_bits;
using testing::text_of;
using testing::values;

namespace {

unexpected wrong(std::string what) {
  return fail(errc::internal, std::move(what));
}

template <class T>
expected<void> check_reduce(group& g, std::size_t count, reduction how, std::uint64_t seed) {
  std::vector<std::vector<T>> all;
  for (std::uint32_t r = 0; r < g.size(); ++r) all.push_back(values<T>(hash_mix(seed, r), count));
  auto mine = all[g.rank()];
  if (auto ok = g.all_reduce(std::span<T>(mine), how); !ok) return ok;
  if (!same_bits(mine, reduced(all, how))) return wrong("all_reduce of " + std::to_string(count) + " differs");
  return {};
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
  gang team(testing::layout({0, 1, 1}, testing::medium::tcp));
  const auto results = team.run([&](group& g) { return check_reduce<float>(g, 1'000'001, reduction::sum, 5); });
  for (const auto& r : results) CHECK_MESSAGE(r, r.error().message());
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
  const auto results = team.run([&](group& g) { return check_reduce<double>(g, 100, reduction::mean, 3); });
  CHECK(results[0]);
}

TEST_CASE("what is done around a call may throw, which breaks the gang, and is not done in a gang that is broken") {
  using made = expected<void>;
  const std::function<made()> bad[] = {[] { return made(fail(errc::not_found, "nothing there")); },
                                       []() -> made { throw std::bad_alloc(); },
                                       []() -> made {
                                         throw failure({errc::refused, "not now", {}, {}});
                                       },
                                       []() -> made { throw std::out_of_range("far"); }};
  const errc codes[] = {errc::not_found, errc::over_limit, errc::refused, errc::internal};
  for (const bool before : {true, false}) {
    for (std::size_t i = 0; i < std::size(bad); ++i) {
      CAPTURE(before);
      CAPTURE(i);
      gang alone({0});
      std::atomic<int> hooks{0};
      const auto results = alone.run([&](group& g) -> made {
        std::vector<float> x(10), y(10);
        auto first = g.all_reduce_async(std::span(x), reduction::sum, std::source_location::current(),
                                        before ? around_call{bad[i], nullptr} : around_call{nullptr, bad[i]});
        auto second = g.all_reduce_async(std::span(y), reduction::sum, std::source_location::current(),
                                         around_call{[&] {
                                                       ++hooks;
                                                       return made();
                                                     },
                                                     nullptr});
        const auto one = first.wait(), two = second.wait();
        if (one || two || one.error().what != two.error().what) return fail(errc::internal, "another end");
        return one;
      });
      REQUIRE_FALSE(results[0]);
      CHECK(results[0].error().code == codes[i]);
      CHECK(hooks == 0);
    }
  }
}
