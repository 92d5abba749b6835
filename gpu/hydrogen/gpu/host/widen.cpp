#include <hydrogen/gpu/host/targets.hpp>
#include <hydrogen/gpu/host/widen.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hydrogen/gpu/host/widen.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hydrogen/gpu/host/lanes-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace hydrogen::gpu::host::HWY_NAMESPACE {

// Plain loops become vector code of the target here, where they are simple.

template <class From, class To>
void convert(const From* HWY_RESTRICT from, To* HWY_RESTRICT to, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) to[i] = static_cast<To>(from[i]);
}

void from_double(const double* from, float* to, std::size_t n) {
  convert(from, to, n);
}
void to_double(const float* from, double* to, std::size_t n) {
  convert(from, to, n);
}
void from_bfloat16(const bfloat16* from, float* to, std::size_t n) {
  convert(from, to, n);
}

void to_bfloat16(const float* from, bfloat16* to, std::size_t n) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<std::uint16_t, decltype(d)> d16;
  auto* out = reinterpret_cast<std::uint16_t*>(to);
  std::size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    const auto x = hn::LoadU(d, from + i);
    const auto bits = hn::BitCast(du, x), upper = hn::ShiftRight<16>(bits);
    const auto to_even = hn::Add(hn::Set(du, 0x7FFF), hn::And(upper, hn::Set(du, 1)));
    const auto rounded = hn::ShiftRight<16>(hn::Add(bits, to_even)), quiet = hn::Or(upper, hn::Set(du, 0x40));
    const auto all = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(x)), quiet, rounded);
    hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di, all)), d16, out + i);
  }
  convert(from + i, to + i, n - i);
}

void from_half(const half* from, float* to, std::size_t n) {
  std::size_t i = 0;
#if HWY_TARGET <= HWY_AVX2
  const hn::ScalableTag<float> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> d16;
  const auto* in = reinterpret_cast<const hwy::float16_t*>(from);
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) hn::StoreU(hn::PromoteTo(d, hn::LoadU(d16, in + i)), d, to + i);
#endif
  convert(from + i, to + i, n - i);
}

void to_half(const float* from, half* to, std::size_t n) {
  std::size_t i = 0;
#if HWY_TARGET <= HWY_AVX2
  const hn::ScalableTag<float> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> d16;
  auto* out = reinterpret_cast<hwy::float16_t*>(to);
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) hn::StoreU(hn::DemoteTo(d16, hn::LoadU(d, from + i)), d16, out + i);
#endif
  convert(from + i, to + i, n - i);
}

}  // namespace hydrogen::gpu::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hydrogen::gpu::host {

HWY_EXPORT(from_double);
HWY_EXPORT(to_double);
HWY_EXPORT(from_bfloat16);
HWY_EXPORT(to_bfloat16);
HWY_EXPORT(from_half);
HWY_EXPORT(to_half);

void widen(const void* from, element type, float* to, std::size_t n) {
  if (type == element::float64) {
    HWY_DYNAMIC_DISPATCH(from_double)(static_cast<const double*>(from), to, n);
  } else if (type == element::half) {
    HWY_DYNAMIC_DISPATCH(from_half)(static_cast<const half*>(from), to, n);
  } else {
    HWY_DYNAMIC_DISPATCH(from_bfloat16)(static_cast<const bfloat16*>(from), to, n);
  }
}

void narrow(const float* from, double* to, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(to_double)(from, to, n);
}

void narrow(const float* from, half* to, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(to_half)(from, to, n);
}

void narrow(const float* from, bfloat16* to, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(to_bfloat16)(from, to, n);
}

}  // namespace hydrogen::gpu::host
#endif
