#include <hydrogen/gpu/host/dropout_numbers.hpp>
#include <hydrogen/gpu/host/past_cache.hpp>
#include <hydrogen/gpu/host/run.hpp>
#include <hydrogen/gpu/host/targets.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hydrogen/gpu/host/dropout.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hydrogen/gpu/host/lanes-inl.hpp>

#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace hydrogen::gpu::host::HWY_NAMESPACE {

constexpr std::size_t words_in_a_block = 512;

/// The random words of the counters from `counter` on; of n elements, and of some more.
void random_words(const dropout_numbers& by, std::uint64_t counter, std::size_t n, std::uint32_t* words) {
#if HWY_TARGET == HWY_SCALAR
  for (std::size_t i = 0; i < n; i += 4, ++counter) {
    std::uint32_t c[4] = {static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32),
                          static_cast<std::uint32_t>(by.step), static_cast<std::uint32_t>(by.step >> 32)};
    auto key0 = static_cast<std::uint32_t>(by.seed), key1 = static_cast<std::uint32_t>(by.seed >> 32);
    for (int round = 0; round < philox_rounds; ++round, key0 += philox_growth0, key1 += philox_growth1) {
      const auto p0 = std::uint64_t{philox_factor0} * c[0], p1 = std::uint64_t{philox_factor1} * c[2];
      c[0] = static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ key0;
      c[1] = static_cast<std::uint32_t>(p1);
      c[2] = static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ key1;
      c[3] = static_cast<std::uint32_t>(p0);
    }
    std::copy_n(c, 4, words + i);
  }
#else
  // A counter in each lane of 64 bits. Only the lower halves of its words count: upper ones are left as they come.
  const hn::ScalableTag<std::uint64_t> d;
  const hn::Repartition<std::uint32_t, decltype(d)> d32;
  const std::size_t lanes = hn::Lanes(d);
  const auto multiply = [&](auto x, auto by_factor)
                            HWY_ATTR { return hn::MulEven(hn::BitCast(d32, x), hn::BitCast(d32, by_factor)); };
  const auto lower = hn::Set(d, 0xFFFFFFFF);
  for (std::size_t i = 0; i < n; i += 4 * lanes, counter += lanes) {
    const auto at = hn::Add(hn::Set(d, counter), hn::Iota(d, 0));
    auto c0 = at, c1 = hn::ShiftRight<32>(at), c2 = hn::Set(d, by.step), c3 = hn::Set(d, by.step >> 32);
    auto key0 = static_cast<std::uint32_t>(by.seed), key1 = static_cast<std::uint32_t>(by.seed >> 32);
    for (int round = 0; round < philox_rounds; ++round, key0 += philox_growth0, key1 += philox_growth1) {
      const auto p0 = multiply(c0, hn::Set(d, std::uint64_t{philox_factor0}));
      const auto p1 = multiply(c2, hn::Set(d, std::uint64_t{philox_factor1}));
      c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), c1), hn::Set(d, std::uint64_t{key0}));
      c1 = p1;
      c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), c3), hn::Set(d, std::uint64_t{key1}));
      c3 = p0;
    }
    const auto first = hn::Or(hn::And(c0, lower), hn::ShiftLeft<32>(c1));
    const auto second = hn::Or(hn::And(c2, lower), hn::ShiftLeft<32>(c3));
    hn::StoreInterleaved2(first, second, d, reinterpret_cast<std::uint64_t*>(words + i));
  }
#endif
}

/// Elements [first, first + n), `first` a multiple of 4.
void drop(const dropout_numbers& by, const float* x, std::size_t first, float* to, std::size_t n) {
  alignas(64) std::uint32_t words[words_in_a_block];
  for (std::size_t done = 0; done < n; done += words_in_a_block) {
    const std::size_t count = std::min(words_in_a_block, n - done);
    random_words(by, (first + done) / 4, count, words);
    for_lanes<float>(count, [&](auto d, std::size_t i) HWY_ATTR {
      const hn::RebindToUnsigned<decltype(d)> du;
      const auto drops = hn::Lt(hn::LoadU(du, words + i), hn::Set(du, by.least));
      const auto kept = hn::Div(hn::LoadU(d, x + done + i), hn::Set(d, by.left));
      hn::StoreU(hn::IfThenZeroElse(hn::RebindMask(d, drops), kept), d, to + done + i);
    });
  }
}

}  // namespace hydrogen::gpu::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hydrogen::gpu::host {

HWY_EXPORT(drop);

void run(const work::dropout& w, run_context&) {
  // No more digits than a float has, so the product is exact; a whole number is at least it if it is at least the next.
  const double threshold = std::ceil(static_cast<double>(w.probability) * 0x1p32);
  const dropout_numbers by{w.seed, w.counter == nullptr ? 0 : *w.counter, static_cast<std::uint32_t>(threshold),
                           1.0F - w.probability};
  write_output(w.to, w.n, w.to != w.x, [&](float* to, std::size_t first, std::size_t n) {
    HWY_DYNAMIC_DISPATCH(drop)(by, w.x + first, first, to, n);
  });
}

}  // namespace hydrogen::gpu::host
#endif
