#include <hydrogen/gpu/host/run.hpp>
#include <hydrogen/gpu/host/targets.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hydrogen/gpu/host/loss.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hydrogen/gpu/host/lanes-inl.hpp>

#include <hwy/contrib/math/math-inl.h>
#include <spdlog/fmt/fmt.h>

#include <cmath>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace hydrogen::gpu::host::HWY_NAMESPACE {

/// The largest number of a row; a NaN if there is one.
float top_of(const float* row, std::size_t columns) {
  const hn::ScalableTag<float> d;
  const std::size_t step = hn::Lanes(d);
  auto top = hn::Set(d, -std::numeric_limits<float>::infinity());
  auto numbers = hn::Eq(top, top);
  std::size_t i = 0;
  for (; i + step <= columns; i += step) {
    const auto v = hn::LoadU(d, row + i);
    numbers = hn::And(numbers, hn::Eq(v, v));
    top = hn::Max(v, top);
  }
  if (!hn::AllTrue(d, numbers)) return std::numeric_limits<float>::quiet_NaN();
  float best = hn::GetLane(hn::MaxOfLanes(d, top));
  for (; i < columns; ++i) {
    if (!(row[i] <= best)) best = row[i];
    if (std::isnan(best)) break;
  }
  return best;
}

/// False: row `bad` has no such label.
bool softmax_cross_entropy(const work::softmax_cross_entropy& w, std::size_t& bad) {
  for (std::size_t r = 0; r < w.rows; ++r) {
    const auto label = w.labels[r];
    if (label >= w.columns) {
      bad = r;
      return false;
    }
    const float* row = w.logits + r * w.columns;
    float* to = w.gradient == nullptr ? nullptr : w.gradient + r * w.columns;
    const float top = top_of(row, w.columns);
    if (!std::isfinite(top)) {  // the difference of infinities, or a NaN
      const float nan = std::numeric_limits<float>::quiet_NaN();
      if (w.loss != nullptr) w.loss[r] = nan;
      if (to != nullptr) std::fill_n(to, w.columns, nan);
      continue;
    }
    const double of_label = static_cast<double>(row[label]) - static_cast<double>(top);  // `to` may be the row
    const auto power = [&](auto d, std::size_t i)
                           HWY_ATTR { return hn::Exp(d, hn::Sub(hn::LoadU(d, row + i), hn::Set(d, top))); };
    if (to == nullptr) {
      w.loss[r] = static_cast<float>(std::log(sum_lanes(w.columns, power)) - of_label);
      continue;
    }
    const double sum = sum_lanes(w.columns, [&](auto d, std::size_t i) HWY_ATTR {
      const auto p = power(d, i);
      hn::StoreU(p, d, to + i);
      return p;
    });
    const double at_label = static_cast<double>(to[label]) / sum;
    const auto factor = static_cast<float>(static_cast<double>(w.scale) / sum);
    for_lanes<float>(w.columns, [&](auto d, std::size_t i) HWY_ATTR {
      hn::StoreU(hn::Mul(hn::LoadU(d, to + i), hn::Set(d, factor)), d, to + i);
    });
    to[label] = static_cast<float>(static_cast<double>(w.scale) * (at_label - 1));
    if (w.loss != nullptr) w.loss[r] = static_cast<float>(std::log(sum) - of_label);
  }
  return true;
}

}  // namespace hydrogen::gpu::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hydrogen::gpu::host {

HWY_EXPORT(softmax_cross_entropy);

void run(const work::softmax_cross_entropy& w, run_context& context) {
  if (w.loss == nullptr && w.gradient == nullptr) return;
  std::size_t bad = 0;
  if (HWY_DYNAMIC_DISPATCH(softmax_cross_entropy)(w, bad)) return;
  context.fault = fmt::format("row {} has the label {}, there are {} classes", bad, w.labels[bad], w.columns);
}

}  // namespace hydrogen::gpu::host
#endif
