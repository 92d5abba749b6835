#include <hydrogen/gpu/host/past_cache.hpp>
#include <hydrogen/gpu/host/run.hpp>
#include <hydrogen/gpu/host/targets.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hydrogen/gpu/host/elementwise.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hydrogen/gpu/host/lanes-inl.hpp>

#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace hydrogen::gpu::host::HWY_NAMESPACE {

void axpy(const work::axpy& w) {
  for_lanes<float>(w.n, [&](auto d, std::size_t i) HWY_ATTR {
    const auto product = hn::Mul(hn::Set(d, w.a), hn::LoadU(d, w.x + i));
    hn::StoreU(hn::Add(hn::LoadU(d, w.y + i), product), d, w.y + i);
  });
}

void scale(const work::scale& w) {
  for_lanes<float>(w.n, [&](auto d, std::size_t i)
                            HWY_ATTR { hn::StoreU(hn::Mul(hn::LoadU(d, w.x + i), hn::Set(d, w.a)), d, w.x + i); });
}

void add_bias(const work::add_bias& w) {
  for (std::size_t r = 0; r < w.rows; ++r) {
    const float* x = w.x + r * w.columns;
    float* to = w.to + r * w.columns;
    for_lanes<float>(w.columns, [&](auto d, std::size_t i) HWY_ATTR {
      hn::StoreU(hn::Add(hn::LoadU(d, x + i), hn::LoadU(d, w.bias + i)), d, to + i);
    });
  }
}

}  // namespace hydrogen::gpu::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hydrogen::gpu::host {

HWY_EXPORT(axpy);
HWY_EXPORT(scale);
HWY_EXPORT(add_bias);

void run(const work::fill& w, run_context&) {
  const std::size_t each = size_of(w.type);
  write_output(static_cast<unsigned char*>(w.to), w.n * each, true,
               [&, filled = std::size_t{0}](unsigned char* to, std::size_t, std::size_t bytes) mutable {
                 // A block that is used again has the pattern already.
                 if (bytes <= filled) return;
                 filled = bytes;
                 std::memcpy(to, &w.bits, each);
                 for (std::size_t done = each; done < bytes;) {
                   const std::size_t more = std::min({done, bytes - done, std::size_t{4096}});
                   std::memcpy(to + done, to, more);
                   done += more;
                 }
               });
}

void run(const work::axpy& w, run_context&) {
  HWY_DYNAMIC_DISPATCH(axpy)(w);
}

void run(const work::scale& w, run_context&) {
  HWY_DYNAMIC_DISPATCH(scale)(w);
}

void run(const work::add_bias& w, run_context&) {
  HWY_DYNAMIC_DISPATCH(add_bias)(w);
}

}  // namespace hydrogen::gpu::host
#endif
