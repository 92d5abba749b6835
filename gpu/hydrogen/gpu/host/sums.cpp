#include <hydrogen/gpu/host/pairwise.hpp>
#include <hydrogen/gpu/host/run.hpp>
#include <hydrogen/gpu/host/targets.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hydrogen/gpu/host/sums.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hydrogen/gpu/host/lanes-inl.hpp>

#include <cmath>
#include <cstring>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace hydrogen::gpu::host::HWY_NAMESPACE {

/// A row of at most 256 elements, each to its lane.
void add_to_lanes(const float* x, std::size_t n, float* lanes) {
  for_lanes<float>(n, [&](auto d, std::size_t l) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(d, lanes + l), hn::LoadU(d, x + l)), d, lanes + l);
  });
}

void add_squares_to_lanes(const float* HWY_RESTRICT x, std::size_t n, double* HWY_RESTRICT lanes) {
  for (std::size_t l = 0; l < n; ++l) lanes[l] += static_cast<double>(x[l]) * static_cast<double>(x[l]);
}

template <class T, class AddRow>
HWY_INLINE T pairwise(const float* x, std::size_t n, AddRow add_row) {
  piece_sums<T> sums;
  alignas(64) T lanes[pairwise_lanes];
  for (std::size_t first = 0; first < n; first += pairwise_piece) {
    const std::size_t end = std::min(n, first + pairwise_piece);
    for (auto& lane : lanes) lane = T{-0.0F};
    for (std::size_t i = first; i < end; i += pairwise_lanes) {
      add_row(x + i, std::min(pairwise_lanes, end - i), lanes);
    }
    sums.add(fold_lanes(lanes));
  }
  return sums.total();
}

float sum(const float* x, std::size_t n) {
  return pairwise<float>(x, n, add_to_lanes);
}

double sum_of_squares(const float* x, std::size_t n) {
  return pairwise<double>(x, n, add_squares_to_lanes);
}

float largest(const float* x, std::size_t n) {
  const hn::ScalableTag<float> d;
  auto top = hn::Set(d, -std::numeric_limits<float>::infinity());
  auto nan = hn::Zero(d);
  const std::size_t step = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + step <= n; i += step) {
    const auto v = hn::LoadU(d, x + i);
    nan = hn::IfThenElse(hn::IsNaN(v), v, nan);
    // Of +0 and -0 the sign bits combine to +0.
    const auto not_below = hn::IfThenElse(hn::Eq(v, top), hn::And(v, top), v);
    top = hn::IfThenElse(hn::Lt(v, top), top, not_below);
  }
  alignas(64) float tops[hn::MaxLanes(d)], nans[hn::MaxLanes(d)];
  hn::Store(top, d, tops);
  hn::Store(nan, d, nans);
  float best = -std::numeric_limits<float>::infinity();
  const auto take = [&](float v) {
    if (v > best || std::isnan(v) || (v == best && !std::signbit(v))) best = v;
  };
  for (std::size_t l = 0; l < step && !std::isnan(best); ++l) take(std::isnan(nans[l]) ? nans[l] : tops[l]);
  for (; i < n && !std::isnan(best); ++i) take(x[i]);
  return best;
}

void sum_rows(const work::sum_rows& w) {
  constexpr std::size_t most_columns = 1024;  // at a time
  alignas(64) float piece[most_columns];
  for (std::size_t first = 0; first < w.columns; first += most_columns) {
    const std::size_t columns = std::min(most_columns, w.columns - first);
    float* sums = w.sums + first;
    std::fill_n(sums, columns, 0.0F);
    for (std::size_t begin = 0; begin < w.rows; begin += work::sum_rows::piece) {
      const std::size_t end = std::min(w.rows, begin + work::sum_rows::piece);
      std::fill_n(piece, columns, 0.0F);
      for (std::size_t r = begin; r < end; ++r) add_to_lanes(w.x + r * w.columns + first, columns, piece);
      add_to_lanes(piece, columns, sums);
    }
  }
}

std::uint32_t place_of_largest(const float* row, std::size_t columns) {
  const hn::ScalableTag<float> d;
  const std::size_t step = hn::Lanes(d);
  auto top = hn::Set(d, -std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + step <= columns; i += step) {
    const auto v = hn::LoadU(d, row + i);
    top = hn::IfThenElse(hn::Gt(v, top), v, top);  // never a NaN
  }
  float best = hn::GetLane(hn::MaxOfLanes(d, top));
  for (; i < columns; ++i) best = row[i] > best ? row[i] : best;
  for (i = 0; i + step <= columns; i += step) {
    const auto found = hn::FindFirstTrue(d, hn::Eq(hn::LoadU(d, row + i), hn::Set(d, best)));
    if (found >= 0) return static_cast<std::uint32_t>(i + static_cast<std::size_t>(found));
  }
  for (; i < columns; ++i) {
    if (row[i] == best) return static_cast<std::uint32_t>(i);
  }
  return 0;  // all are NaN
}

void argmax(const work::argmax& w) {
  for (std::size_t r = 0; r < w.rows; ++r) w.index[r] = place_of_largest(w.x + r * w.columns, w.columns);
}

}  // namespace hydrogen::gpu::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hydrogen::gpu::host {

HWY_EXPORT(sum);
HWY_EXPORT(sum_of_squares);
HWY_EXPORT(largest);
HWY_EXPORT(sum_rows);
HWY_EXPORT(argmax);

void run(const work::reduce_to_scalar& w, run_context&) {
  *w.to = w.how == work::reduce_to_scalar::kind::sum ? HWY_DYNAMIC_DISPATCH(sum)(w.x, w.n)
                                                     : HWY_DYNAMIC_DISPATCH(largest)(w.x, w.n);
}

void run(const work::sum_rows& w, run_context&) {
  HWY_DYNAMIC_DISPATCH(sum_rows)(w);
}

void run(const work::argmax& w, run_context&) {
  HWY_DYNAMIC_DISPATCH(argmax)(w);
}

void run(const work::clip_by_global_norm& w, run_context& context) {
  double squares = 0;
  for (const auto& t : *w.tensors) squares += HWY_DYNAMIC_DISPATCH(sum_of_squares)(t.at, t.n);
  const double norm = std::sqrt(squares);
  *w.norm = static_cast<float>(norm);
  if (!(norm > w.most) || !std::isfinite(*w.norm)) return;
  const auto factor = static_cast<float>(w.most / norm);
  for (const auto& t : *w.tensors) run(work::scale{factor, t.at, t.n}, context);
}

}  // namespace hydrogen::gpu::host
#endif
