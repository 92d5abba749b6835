// Gradient exchanges: the sums are those of plain calls, whatever the buckets, placements and order of readiness.
#include <hydrogen/comm/gradient_exchange.hpp>

#include "gang.hpp"
#include "reference.hpp"
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::testing;

namespace {

const std::vector<std::size_t> layers{1000, 3, 0, 12'000, 17, 1, 4096, 300};

unexpected wrong_gradient(std::string what) {
  return fail(errc::internal, std::move(what));
}

std::vector<float> gradient_of(std::uint64_t step, std::uint32_t rank, std::size_t layer) {
  return values<float>(hash_mix(hash_mix(step, rank), layer), layers[layer]);
}

void all_are_fine(const std::vector<expected<void>>& results, const layout& placement) {
  for (std::uint32_t r = 0; r < results.size(); ++r) {
    INFO(text_of(placement), ", rank ", r);
    CHECK_MESSAGE(results[r], results[r].error().message());
  }
}

template <class T>
std::vector<float> mean_of(std::uint64_t step, std::uint32_t ranks, std::size_t layer) {
  std::vector<std::vector<T>> all;
  for (std::uint32_t r = 0; r < ranks; ++r) {
    all.emplace_back();
    for (const float x : gradient_of(step, r, layer)) all.back().push_back(static_cast<T>(x));
  }
  std::vector<float> mean;
  for (const auto x : reduced(all, reduction::mean)) mean.push_back(static_cast<float>(x));
  return mean;
}

}  // namespace

TEST_CASE("gradients are the mean over ranks, bit by bit, for every size of buckets and order of readiness") {
  for (const auto& placement : placements(3)) {
    for (const std::size_t bucket : {1u, 4096u, 1u << 20}) {
      gang team(placement);
      all_are_fine(team.run([&](group& g) -> expected<void> {
        auto exchange = gradient_exchange::make(g, layers, {.bucket_bytes = bucket});
        if (!exchange) return unexpected(exchange.error());
        if (bucket == 1u << 20 && exchange->buckets() != 1) return wrong_gradient("more than one bucket");
        if (bucket == 4096 && exchange->buckets() != 3) return wrong_gradient("another number of buckets");
        for (std::uint64_t step = 0; step < 4; ++step) {
          std::vector<std::size_t> order(layers.size());
          std::iota(order.rbegin(), order.rend(), 0);
          // Ranks differ in it.
          random_source random(hash_mix(step, g.rank()));
          for (std::size_t i = order.size() - 1; step > 0 && i > 0; --i)
            std::swap(order[i], order[random.below(i + 1)]);
          for (const auto i : order) {
            const auto mine = gradient_of(step, g.rank(), i);
            std::copy(mine.begin(), mine.end(), exchange->gradient(i).begin());
            if (auto ok = exchange->ready(i); !ok) return ok;
          }
          if (auto ok = exchange->finish(); !ok) return unexpected(ok.error());
          for (std::size_t i = 0; i < layers.size(); ++i) {
            const auto mean = mean_of<float>(step, g.size(), i);
            if (!same_bits<float>(exchange->gradient(i), mean)) return wrong_gradient("layer " + std::to_string(i));
          }
        }
        return {};
      }),
                   placement);
    }
  }
}

TEST_CASE("where the table picks the buckets, the last one is what goes in one shot, and is the first tensors") {
  gang team({0, 0});
  // One shot of 512 KiB over both: 256 KiB of each, 65,536 floats.
  const std::vector<std::size_t> sizes{30'000, 30'000, 30'000, 100'000};
  const auto results = team.run([&](group& g) -> expected<void> {
    auto all = gradient_plan::agree(g, sizes, {}, {});
    if (!all) return unexpected(all.error());
    if (all->buckets() != 2) return wrong_gradient("another number of buckets");
    for (const auto& [tensor, bucket] : {std::pair{3u, 0u}, {2u, 0u}, {1u, 1u}, {0u, 1u}}) {
      if (all->bucket_of(tensor) != bucket) return wrong_gradient("another bucket");
    }
    // All of it is small.
    auto few = gradient_plan::agree(g, std::span(sizes).first(2), {}, {});
    if (!few) return unexpected(few.error());
    return few->buckets() == 1 ? expected<void>() : wrong_gradient("more than one bucket");
  });
  for (const auto& r : results) CHECK_MESSAGE(r, r.error().message());
}

TEST_CASE("micro-batches are added up, and only the last one meets the others") {
  const layout placement({0, 1});
  gang team(placement);
  all_are_fine(team.run([&](group& g) -> expected<void> {
    auto exchange = gradient_exchange::make(g, layers, {.how = reduction::sum, .micro_batches = 3});
    if (!exchange) return unexpected(exchange.error());
    for (int step = 0; step < 2; ++step) {
      for (int batch = 0; batch < 3; ++batch) {
        for (std::size_t i = layers.size(); i-- > 0;) {
          for (auto& x : exchange->gradient(i)) x = (batch == 0 ? 0.0f : x) + static_cast<float>(1 + g.rank());
          if (auto ok = exchange->ready(i); !ok) return ok;
        }
        if (auto ok = exchange->finish(); !ok) return unexpected(ok.error());
      }
      for (std::size_t i = 0; i < layers.size(); ++i) {
        for (const auto x : exchange->gradient(i)) {
          if (x != 9.0f) return wrong_gradient("the sum of three micro-batches of two ranks");
        }
      }
    }
    return {};
  }),
               placement);
}

TEST_CASE("gradients are clipped by the norm of all of them together, alike on all ranks") {
  const layout placement({0, 0, 1});
  gang team(placement);
  all_are_fine(team.run([&](group& g) -> expected<void> {
    auto exchange = gradient_exchange::make(g, layers, {.clip_norm = 2.0f, .bucket_bytes = 4096});
    if (!exchange) return unexpected(exchange.error());
    double squares = 0;
    for (std::size_t i = layers.size(); i-- > 0;) {
      const auto mine = gradient_of(1, g.rank(), i);
      std::copy(mine.begin(), mine.end(), exchange->gradient(i).begin());
      for (const auto x : mean_of<float>(1, g.size(), i)) squares += double{x} * double{x};
      if (auto ok = exchange->ready(i); !ok) return ok;
    }
    auto norm = exchange->finish();
    if (!norm) return unexpected(norm.error());
    if (std::abs(*norm - std::sqrt(squares)) > 1e-9 * *norm) return wrong_gradient("the norm");
    double clipped = 0;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      for (const auto x : exchange->gradient(i)) clipped += double{x} * double{x};
    }
    if (std::abs(std::sqrt(clipped) - 2.0) > 1e-5) return wrong_gradient("the norm of what was clipped");
    // Below the limit nothing changes.
    for (std::size_t i = 0; i < layers.size(); ++i) {
      for (auto& x : exchange->gradient(i)) x = 1e-6f;
      if (auto ok = exchange->ready(i); !ok) return ok;
    }
    if (auto ok = exchange->finish(); !ok) return unexpected(ok.error());
    return exchange->gradient(0)[0] == 1e-6f ? expected<void>() : wrong_gradient("what was small enough");
  }),
               placement);
}

TEST_CASE("gradients as bfloat16 on the wire are added as float and rounded once more") {
  for (const auto& placement : placements(2)) {
    gang team(placement);
    all_are_fine(team.run([&](group& g) -> expected<void> {
      auto exchange = gradient_exchange::make(g, layers, {.bfloat16_on_wire = true, .bucket_bytes = 4096});
      if (!exchange) return unexpected(exchange.error());
      for (std::size_t i = layers.size(); i-- > 0;) {
        const auto mine = gradient_of(1, g.rank(), i);
        std::copy(mine.begin(), mine.end(), exchange->gradient(i).begin());
        if (auto ok = exchange->ready(i); !ok) return ok;
      }
      if (auto ok = exchange->finish(); !ok) return unexpected(ok.error());
      for (std::size_t i = 0; i < layers.size(); ++i) {
        if (!same_bits<float>(exchange->gradient(i), mean_of<bfloat16>(1, g.size(), i))) {
          return wrong_gradient("layer " + std::to_string(i));
        }
      }
      return {};
    }),
                 placement);
  }
}

TEST_CASE("ranks that declare other tensors or options are named, and misuse breaks nothing") {
  gang team({0, 0});
  const auto results = team.run([&](group& g) -> expected<void> {
    const auto is = [](const auto& r, errc code, std::string_view text) {
      return !r && r.error().code == code && r.error().message().find(text) != std::string::npos;
    };
    const auto at = std::source_location::current();
    const std::vector<std::size_t> mine{5, g.rank() == 0 ? 7u : 8u};
    if (!is(gradient_exchange::make(g, mine, {}, at), errc::mismatch,
            "rank 1 has 2 tensors of 13 numbers and rank 0")) {
      return wrong_gradient("other tensors");
    }
    if (!is(gradient_exchange::make(g, layers, {.micro_batches = 1 + g.rank()}, at), errc::mismatch, "options")) {
      return wrong_gradient("other options");
    }
    // The same size of buckets, but the last one is small where the table says the size.
    const auto size = g.rank() == 0 ? g.table().bucket : 0;
    if (!is(gradient_exchange::make(g, layers, {.bucket_bytes = size}, at), errc::mismatch, "options")) {
      return wrong_gradient("buckets of the user and of the table");
    }
    if (!is(gradient_exchange::make(g, layers, {.how = reduction::max}), errc::bad_input, "not max")) {
      return wrong_gradient("a maximum");
    }
    if (!is(gradient_exchange::make(g, layers, {.clip_norm = -1}), errc::bad_input, "clip"))
      return wrong_gradient("clip");
    auto exchange = gradient_exchange::make(g, std::vector<std::size_t>{2, 3});
    if (!exchange) return unexpected(exchange.error());
    if (!is(exchange->ready(2), errc::bad_input, "no tensor 2, but 2")) return wrong_gradient("no such tensor");
    if (auto ok = exchange->ready(1); !ok) return ok;
    if (!is(exchange->ready(1), errc::bad_input, "second time")) return wrong_gradient("twice");
    if (!is(exchange->finish(), errc::bad_input, "tensor 0 is not ready")) return wrong_gradient("not ready");
    if (auto ok = exchange->ready(0); !ok) return ok;
    if (auto ok = exchange->finish(); !ok) return unexpected(ok.error());
    return {};
  });
  all_are_fine(results, {0, 0});
}

TEST_CASE("a rank that leaves in the middle of a step ends the exchange of the others") {
  for (const auto& placement : placements(2)) {
    gang team(placement);
    const auto results = team.run([&](group& g) -> expected<void> {
      auto exchange = gradient_exchange::make(g, layers, {.bucket_bytes = 4096});
      if (!exchange) return unexpected(exchange.error());
      for (std::size_t i = layers.size(); i-- > 0;) {
        if (g.rank() == 1 && i == 2) return {};
        if (auto ok = exchange->ready(i); !ok) return ok;
      }
      auto ended = exchange->finish();
      return ended ? expected<void>() : expected<void>(unexpected(ended.error()));
    });
    INFO(text_of(placement), ": ", results[0] ? "no error" : results[0].error().message());
    CHECK((!results[0] && results[0].error().code == errc::disconnected));
  }
}
