#include <hydrogen/gpu/host/past_cache.hpp>
#include <hydrogen/gpu/host/targets.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hydrogen/gpu/host/past_cache.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace hydrogen::gpu::host::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

void write_past(void* to, const void* from, std::size_t bytes) {
  const hn::ScalableTag<std::uint8_t> d;
  const std::size_t step = hn::Lanes(d);
  auto* out = static_cast<std::uint8_t*>(to);
  const auto* in = static_cast<const std::uint8_t*>(from);
  const std::size_t head = std::min(bytes, (step - reinterpret_cast<std::uintptr_t>(out) % step) % step);
  std::memcpy(out, in, head);
  std::size_t i = head;
  for (; i + step <= bytes; i += step) hn::Stream(hn::LoadU(d, in + i), d, out + i);
  std::memcpy(out + i, in + i, bytes - i);
}

}  // namespace hydrogen::gpu::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hydrogen::gpu::host {

HWY_EXPORT(write_past);

void write_past_cache(void* to, const void* from, std::size_t bytes) {
  HWY_DYNAMIC_DISPATCH(write_past)(to, from, bytes);
}

void finish_past_cache() {
  hwy::FlushStream();
}

}  // namespace hydrogen::gpu::host
#endif
