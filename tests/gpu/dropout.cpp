#include <hydrogen/gpu/kernels/elementwise.hpp>

#include "kernel_testing.hpp"

#include <array>

namespace kernel_tests {
namespace {

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> c, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const auto p0 = std::uint64_t{0xD2511F53} * c[0], p1 = std::uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ key[0], static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return c;
}

std::uint32_t word_of(std::uint64_t seed, std::uint64_t step, std::uint64_t i) {
  const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
  const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
  return philox({low(i / 4), high(i / 4), low(step), high(step)}, {low(seed), high(seed)})[i % 4];
}

}  // namespace

TEST_CASE("the reference generator gives the published vectors of Philox4x32-10") {
  // Random123's kat_vectors.
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr std::uint32_t all = 0xffffffff;
  CHECK(philox({all, all, all, all}, {all, all}) ==
        std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        std::array<std::uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("dropout drops the elements of its random words, the same ones in place") {
  on_every_device([](rig& r) {
    for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{5}, std::size_t{2049}, beyond_cache}) {
      for (const float probability : {0.0F, 0.3F, 0x1p-31F, 1 - 0x1p-24F}) {
        if (n == beyond_cache && probability != 0.3F) continue;
        const auto seed = r.random(), step = r.random();
        const auto x = r.odd_numbers(n);
        const bool counted = r.random.chance(0.5);
        std::vector<float> want;
        for (std::size_t i = 0; i < n; ++i) {
          const bool stays = word_of(seed, counted ? step : 0, i) >= static_cast<double>(probability) * 0x1p32;
          want.push_back(stays ? x[i] / (1 - probability) : 0.0F);
        }
        const auto counter = counted ? r.put(std::vector{step}) : buffer<std::uint64_t>{};
        const auto in = r.put(x), to = r.blank<float>(n);
        kernels::dropout(r.s, probability, seed, counter, in, to);
        check_same(r.get(to), want);
        kernels::dropout(r.s, probability, seed, counter, in, in);
        check_same(r.get(in), want);
      }
    }
  });
}

TEST_CASE("a word that equals the threshold stays, the one below it is dropped") {
  on_every_device([](rig& r) {
    // Element 3 of seed 0 has the word 0x9b00dbd8; a float has 24 bits, so the threshold is near it from both sides.
    const std::vector<float> x(4, 1.0F);
    const auto to = r.blank<float>(4);
    const float below = 0x9b00dbp-24F, above = 0x9b00dcp-24F;
    kernels::dropout(r.s, below, 0, {}, r.put(x), to);
    CHECK(r.get(to)[3] == 1.0F / (1.0F - below));
    kernels::dropout(r.s, above, 0, {}, r.put(x), to);
    CHECK(r.get(to)[3] == 0.0F);
    // Halfway to the next word, which a float can say of small ones only.
    std::uint64_t i = 0;
    while (word_of(0, 0, i) >= 1U << 23) ++i;
    const auto word = static_cast<float>(word_of(0, 0, i));
    const std::vector<float> ones(i + 1, 1.0F);
    const auto many = r.blank<float>(i + 1);
    kernels::dropout(r.s, (word + 0.5F) * 0x1p-32F, 0, {}, r.put(ones), many);
    CHECK(r.get(many)[i] == 0.0F);
    kernels::dropout(r.s, word * 0x1p-32F, 0, {}, r.put(ones), many);
    CHECK(r.get(many)[i] != 0.0F);
  });
}

}  // namespace kernel_tests
