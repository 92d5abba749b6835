// Loops over vectors, compiled once for each target (foreach_target.h).

#if defined(HYDROGEN_GPU_HOST_LANES_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef HYDROGEN_GPU_HOST_LANES_INL_HPP
#undef HYDROGEN_GPU_HOST_LANES_INL_HPP
#else
#define HYDROGEN_GPU_HOST_LANES_INL_HPP
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>

HWY_BEFORE_NAMESPACE();
namespace hydrogen::gpu::host::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// body(d, i) for n elements of T: whole vectors from 0 on, then single lanes.
template <class T, class Body>
HWY_INLINE void for_lanes(std::size_t n, Body&& body) {
  const hn::ScalableTag<T> d;
  const hn::CappedTag<T, 1> one;
  std::size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) body(d, i);
  for (; i < n; ++i) body(one, i);
}

/// The sum of term(d, i): of floats within some thousands of them, of doubles beyond. The order is always the same on
/// one target.
template <class Term>
HWY_INLINE double sum_lanes(std::size_t n, Term&& term) {
  constexpr std::size_t stretch = 4096;
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const std::size_t step = hn::Lanes(d);
  double total = 0;
  for (std::size_t first = 0; first < n; first += stretch) {
    const std::size_t end = std::min(n, first + stretch);
    auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    std::size_t i = first;
    for (; i + 4 * step <= end; i += 4 * step) {
      s0 = hn::Add(s0, term(d, i));
      s1 = hn::Add(s1, term(d, i + step));
      s2 = hn::Add(s2, term(d, i + 2 * step));
      s3 = hn::Add(s3, term(d, i + 3 * step));
    }
    for (; i + step <= end; i += step) s0 = hn::Add(s0, term(d, i));
    total += hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
    for (; i < end; ++i) total += hn::GetLane(term(one, i));
  }
  return total;
}

}  // namespace hydrogen::gpu::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
