#include <hydrogen/gpu/host/run.hpp>
#include <hydrogen/gpu/host/targets.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hydrogen/gpu/host/normalisation.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hydrogen/gpu/host/lanes-inl.hpp>

#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace hydrogen::gpu::host::HWY_NAMESPACE {

void layer_norm(const work::layer_norm& w) {
  const auto columns = static_cast<double>(w.columns);
  for (std::size_t r = 0; r < w.rows; ++r) {
    const float* x = w.x + r * w.columns;
    float* to = w.to + r * w.columns;
    // A first mean in float; what it is off by shows in the differences to it, which are small.
    const auto near = static_cast<float>(
        sum_lanes(w.columns, [&](auto d, std::size_t i) HWY_ATTR { return hn::LoadU(d, x + i); }) / columns);
    const double rest = sum_lanes(w.columns, [&](auto d, std::size_t i)
                                                 HWY_ATTR { return hn::Sub(hn::LoadU(d, x + i), hn::Set(d, near)); }) /
                        columns;
    const double squares = sum_lanes(w.columns,
                                     [&](auto d, std::size_t i) HWY_ATTR {
                                       const auto off = hn::Sub(hn::LoadU(d, x + i), hn::Set(d, near));
                                       return hn::Mul(off, off);
                                     }) /
                           columns;
    const double variance = std::max(0.0, squares - rest * rest);
    const auto inverse = static_cast<float>(1 / std::sqrt(variance + static_cast<double>(w.epsilon)));
    w.mean[r] = static_cast<float>(near + rest);
    w.inverse[r] = inverse;
    const auto left = static_cast<float>(rest);
    for_lanes<float>(w.columns, [&](auto d, std::size_t i) HWY_ATTR {
      const auto off = hn::Sub(hn::Sub(hn::LoadU(d, x + i), hn::Set(d, near)), hn::Set(d, left));
      const auto normal = hn::Mul(off, hn::Set(d, inverse));
      hn::StoreU(hn::MulAdd(normal, hn::LoadU(d, w.weight + i), hn::LoadU(d, w.bias + i)), d, to + i);
    });
  }
}

/// Adds the rows [begin, end) to the sums of their piece, and writes their gradient by x.
void layer_norm_piece(const work::layer_norm_gradient& w, std::size_t begin, std::size_t end, float* weight_sums,
                      float* bias_sums) {
  for (std::size_t r = begin; r < end; ++r) {
    const float* x = w.x + r * w.columns;
    const float* gradient = w.gradient + r * w.columns;
    float* to = w.x_gradient + r * w.columns;
    const float mean = w.mean[r], inverse = w.inverse[r];
    const auto normal = [&](auto d, std::size_t i) HWY_ATTR {
      return hn::Mul(hn::Sub(hn::LoadU(d, x + i), hn::Set(d, mean)), hn::Set(d, inverse));
    };
    for_lanes<float>(w.columns, [&](auto d, std::size_t i) HWY_ATTR {
      const auto g = hn::LoadU(d, gradient + i);
      hn::StoreU(hn::Add(hn::LoadU(d, weight_sums + i), hn::Mul(g, normal(d, i))), d, weight_sums + i);
      hn::StoreU(hn::Add(hn::LoadU(d, bias_sums + i), g), d, bias_sums + i);
    });
    const auto weighted = [&](auto d, std::size_t i)
                              HWY_ATTR { return hn::Mul(hn::LoadU(d, gradient + i), hn::LoadU(d, w.weight + i)); };
    const auto columns = static_cast<double>(w.columns);
    const auto level = static_cast<float>(sum_lanes(w.columns, weighted) / columns);
    const auto slope = static_cast<float>(
        sum_lanes(w.columns, [&](auto d, std::size_t i) HWY_ATTR { return hn::Mul(weighted(d, i), normal(d, i)); }) /
        columns);
    for_lanes<float>(w.columns, [&](auto d, std::size_t i) HWY_ATTR {
      const auto flat = hn::Sub(weighted(d, i), hn::Set(d, level));
      const auto g = hn::NegMulAdd(normal(d, i), hn::Set(d, slope), flat);
      hn::StoreU(hn::Mul(g, hn::Set(d, inverse)), d, to + i);
    });
  }
}

void add_sums(float* piece, float* to, std::size_t n) {
  for_lanes<float>(n, [&](auto d, std::size_t i) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(d, to + i), hn::LoadU(d, piece + i)), d, to + i);
    hn::StoreU(hn::Zero(d), d, piece + i);
  });
}

}  // namespace hydrogen::gpu::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hydrogen::gpu::host {

HWY_EXPORT(layer_norm);
HWY_EXPORT(layer_norm_piece);
HWY_EXPORT(add_sums);

void run(const work::layer_norm& w, run_context&) {
  if (w.columns != 0) HWY_DYNAMIC_DISPATCH(layer_norm)(w);
}

void run(const work::layer_norm_gradient& w, run_context& context) {
  auto* weight_sums = static_cast<float*>(context.scratch);
  auto* bias_sums = weight_sums + w.columns;
  std::fill_n(w.weight_gradient, w.columns, 0.0F);
  std::fill_n(w.bias_gradient, w.columns, 0.0F);
  if (w.columns == 0) return;
  std::fill_n(weight_sums, 2 * w.columns, 0.0F);
  for (std::size_t begin = 0; begin < w.rows; begin += work::sum_rows::piece) {
    const std::size_t end = std::min(w.rows, begin + work::sum_rows::piece);
    HWY_DYNAMIC_DISPATCH(layer_norm_piece)(w, begin, end, weight_sums, bias_sums);
    HWY_DYNAMIC_DISPATCH(add_sums)(weight_sums, w.weight_gradient, w.columns);
    HWY_DYNAMIC_DISPATCH(add_sums)(bias_sums, w.bias_gradient, w.columns);
  }
}

}  // namespace hydrogen::gpu::host
#endif
