#include <hydrogen/gpu/host/past_cache.hpp>
#include <hydrogen/gpu/host/run.hpp>
#include <hydrogen/gpu/host/targets.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hydrogen/gpu/host/activations.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hydrogen/gpu/host/lanes-inl.hpp>

#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace hydrogen::gpu::host::HWY_NAMESPACE {

/// erf(x / sqrt 2). erf(z) / z as a quotient of polynomials in z^2 for |z| < 3.92, fitted for this file by least
/// squares at Chebyshev nodes, with weights towards the smallest largest error: 2e-8 before rounding. Beyond, the
/// float nearest to erf is 1.
template <class D, class V = hn::VFromD<D>>
HWY_INLINE V erf_of_normal(D d, V x) {
  const V z = hn::Mul(x, hn::Set(d, 0.70710678118654752F));
  const V s = hn::Mul(z, z);
  V p = hn::Set(d, 2.04660317e-06F);
  p = hn::MulAdd(p, s, hn::Set(d, 0.0002848495F));
  p = hn::MulAdd(p, s, hn::Set(d, 0.00377157946F));
  p = hn::MulAdd(p, s, hn::Set(d, 0.0527664233F));
  p = hn::MulAdd(p, s, hn::Set(d, 0.190567468F));
  p = hn::MulAdd(p, s, hn::Set(d, 1.12837915F));
  V q = hn::Set(d, 3.80540269e-05F);
  q = hn::MulAdd(q, s, hn::Set(d, 0.00116367346F));
  q = hn::MulAdd(q, s, hn::Set(d, 0.0149812416F));
  q = hn::MulAdd(q, s, hn::Set(d, 0.114172401F));
  q = hn::MulAdd(q, s, hn::Set(d, 0.502218754F));
  q = hn::MulAdd(q, s, hn::Set(d, 1.0F));
  const V one = hn::CopySign(hn::Set(d, 1.0F), x);
  return hn::IfThenElse(hn::Gt(hn::Abs(z), hn::Set(d, 3.92F)), one, hn::Div(hn::Mul(z, p), q));
}

void activate(work::function what, const float* x, float* to, std::size_t n) {
  if (what == work::function::relu) {
    return for_lanes<float>(n, [&](auto d, std::size_t i) HWY_ATTR {
      const auto v = hn::LoadU(d, x + i);
      hn::StoreU(hn::IfThenZeroElse(hn::Le(v, hn::Zero(d)), v), d, to + i);
    });
  }
  for_lanes<float>(n, [&](auto d, std::size_t i) HWY_ATTR {
    const auto v = hn::LoadU(d, x + i);
    const auto half = hn::Set(d, 0.5F);
    hn::StoreU(hn::Mul(v, hn::MulAdd(erf_of_normal(d, v), half, half)), d, to + i);
  });
}

void activate_gradient(work::function what, const float* x, const float* gradient, float* to, std::size_t n) {
  if (what == work::function::relu) {
    return for_lanes<float>(n, [&](auto d, std::size_t i) HWY_ATTR {
      const auto slope = hn::IfThenElseZero(hn::Gt(hn::LoadU(d, x + i), hn::Zero(d)), hn::Set(d, 1.0F));
      hn::StoreU(hn::Mul(hn::LoadU(d, gradient + i), slope), d, to + i);
    });
  }
  for_lanes<float>(n, [&](auto d, std::size_t i) HWY_ATTR {
    const auto v = hn::LoadU(d, x + i);
    const auto half = hn::Set(d, 0.5F);
    const auto below = hn::MulAdd(erf_of_normal(d, v), half, half);
    // x times the density is 0 in float beyond; so is not infinity times 0. A NaN is kept by `below`.
    const auto near = hn::Min(hn::Max(v, hn::Set(d, -15.0F)), hn::Set(d, 15.0F));
    const auto power = hn::Mul(hn::Mul(near, near), hn::Set(d, -0.5F));
    const auto density = hn::Mul(hn::Exp(d, power), hn::Set(d, 0.39894228040143268F));
    hn::StoreU(hn::Mul(hn::LoadU(d, gradient + i), hn::MulAdd(near, density, below)), d, to + i);
  });
}

}  // namespace hydrogen::gpu::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hydrogen::gpu::host {

HWY_EXPORT(activate);
HWY_EXPORT(activate_gradient);

void run(const work::activate& w, run_context&) {
  write_output(w.to, w.n, w.to != w.x, [&](float* to, std::size_t first, std::size_t n) {
    HWY_DYNAMIC_DISPATCH(activate)(w.what, w.x + first, to, n);
  });
}

void run(const work::activate_gradient& w, run_context&) {
  write_output(w.to, w.n, w.to != w.x && w.to != w.gradient, [&](float* to, std::size_t first, std::size_t n) {
    HWY_DYNAMIC_DISPATCH(activate_gradient)(w.what, w.x + first, w.gradient + first, to, n);
  });
}

}  // namespace hydrogen::gpu::host
#endif
