#include <hydrogen/gpu/host/adam_factors.hpp>
#include <hydrogen/gpu/host/run.hpp>
#include <hydrogen/gpu/host/targets.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hydrogen/gpu/host/optimisers.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hydrogen/gpu/host/lanes-inl.hpp>

#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace hydrogen::gpu::host::HWY_NAMESPACE {

void sgd_step(const work::sgd_step& w, const work::sgd_step::part& p) {
  for_lanes<float>(p.n, [&](auto d, std::size_t i) HWY_ATTR {
    const auto value = hn::LoadU(d, p.value + i);
    const auto scaled = hn::Mul(hn::Set(d, w.gradient_scale), hn::LoadU(d, p.gradient + i));
    const auto g = hn::Add(scaled, hn::Mul(hn::Set(d, w.decay), value));
    const auto velocity = hn::Add(hn::Mul(hn::Set(d, w.momentum), hn::LoadU(d, p.velocity + i)), g);
    hn::StoreU(velocity, d, p.velocity + i);
    hn::StoreU(hn::Sub(value, hn::Mul(hn::Set(d, w.rate), velocity)), d, p.value + i);
  });
}

void adam_step(const work::adam_step& w, const adam_factors& f, const work::adam_step::part& p) {
  for_lanes<float>(p.n, [&](auto d, std::size_t i) HWY_ATTR {
    const auto value = hn::LoadU(d, p.value + i);
    const auto scaled = hn::Mul(hn::Set(d, w.gradient_scale), hn::LoadU(d, p.gradient + i));
    const auto g = hn::MulAdd(hn::Set(d, f.decay), value, scaled);
    const auto m = hn::MulAdd(hn::Set(d, w.beta1), hn::LoadU(d, p.m + i), hn::Mul(hn::Set(d, f.rest1), g));
    const auto square = hn::Mul(hn::Set(d, f.rest2), hn::Mul(g, g));
    const auto v = hn::MulAdd(hn::Set(d, w.beta2), hn::LoadU(d, p.v + i), square);
    hn::StoreU(m, d, p.m + i);
    hn::StoreU(v, d, p.v + i);
    const auto below = hn::MulAdd(hn::Sqrt(v), hn::Set(d, f.root), hn::Set(d, w.epsilon));
    const auto step = hn::Div(hn::Mul(hn::Set(d, f.rate), m), below);
    hn::StoreU(hn::Sub(hn::Mul(hn::Set(d, f.keep), value), step), d, p.value + i);
  });
}

}  // namespace hydrogen::gpu::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hydrogen::gpu::host {

HWY_EXPORT(sgd_step);
HWY_EXPORT(adam_step);

void run(const work::sgd_step& w, run_context&) {
  for (const auto& p : *w.parts) HWY_DYNAMIC_DISPATCH(sgd_step)(w, p);
}

void run(const work::adam_step& w, run_context&) {
  const auto t = static_cast<double>(++*w.step);
  const double beta1 = w.beta1, beta2 = w.beta2, rate = w.rate, decay = w.decay;
  const adam_factors f{static_cast<float>(rate / (1 - std::pow(beta1, t))),
                       static_cast<float>(1 / std::sqrt(1 - std::pow(beta2, t))),
                       w.decoupled ? 0.0F : w.decay,
                       static_cast<float>(w.decoupled ? 1 - rate * decay : 1.0),
                       static_cast<float>(1 - beta1),
                       static_cast<float>(1 - beta2)};
  for (const auto& p : *w.parts) HWY_DYNAMIC_DISPATCH(adam_step)(w, f, p);
}

}  // namespace hydrogen::gpu::host
#endif
