#include <hydrogen/gpu/host/run.hpp>
#include <hydrogen/gpu/host/scratch.hpp>
#include <hydrogen/gpu/host/targets.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hydrogen/gpu/host/kmeans.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hydrogen/gpu/host/lanes-inl.hpp>

#include <spdlog/fmt/fmt.h>

#include <cmath>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace hydrogen::gpu::host::HWY_NAMESPACE {

float distance_of(const float* point, const float* centre, std::size_t dimensions) {
  float sum = 0;
  for (std::size_t i = 0; i < dimensions; ++i) {
    const float off = point[i] - centre[i];
    sum += off * off;
  }
  return sum;
}

/// As the contract has it, one centre after the other.
std::size_t nearest_slowly(const float* point, const work::kmeans_assign& w) {
  std::size_t best = 0;
  float least = distance_of(point, w.centres, w.dimensions);
  for (std::size_t c = 1; c < w.k; ++c) {
    const float d = distance_of(point, w.centres + c * w.dimensions, w.dimensions);
    if (d < least || (std::isnan(least) && !std::isnan(d))) {
      least = d;
      best = c;
    }
  }
  return best;
}

/// `turned` has the centres in columns, `padded_centres(k)` of them; those beyond k are infinitely far.
std::size_t nearest(const float* point, const float* turned, const work::kmeans_assign& w) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const std::size_t step = hn::Lanes(d), columns = padded_centres(w.k);
  auto least = hn::Set(d, std::numeric_limits<float>::infinity());
  auto place = hn::Zero(du);
  for (std::size_t c = 0; c < columns; c += 4 * step) {
    auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    for (std::size_t i = 0; i < w.dimensions; ++i) {
      const auto x = hn::Set(d, point[i]);
      const float* at = turned + i * columns + c;
      const auto off0 = hn::Sub(x, hn::LoadU(d, at)), off1 = hn::Sub(x, hn::LoadU(d, at + step));
      const auto off2 = hn::Sub(x, hn::LoadU(d, at + 2 * step)), off3 = hn::Sub(x, hn::LoadU(d, at + 3 * step));
      s0 = hn::Add(s0, hn::Mul(off0, off0));
      s1 = hn::Add(s1, hn::Mul(off1, off1));
      s2 = hn::Add(s2, hn::Mul(off2, off2));
      s3 = hn::Add(s3, hn::Mul(off3, off3));
    }
    const auto take = [&](auto s, std::size_t first) HWY_ATTR {
      const auto nearer = hn::Lt(s, least);
      least = hn::IfThenElse(nearer, s, least);
      place = hn::IfThenElse(hn::RebindMask(du, nearer), hn::Set(du, static_cast<std::uint32_t>(first)), place);
    };
    take(s0, c), take(s1, c + step), take(s2, c + 2 * step), take(s3, c + 3 * step);
  }
  alignas(64) float distances[hn::MaxLanes(d)];
  alignas(64) std::uint32_t places[hn::MaxLanes(d)];
  hn::Store(least, d, distances);
  hn::Store(place, du, places);
  float best = std::numeric_limits<float>::infinity();
  std::size_t found = w.k;
  for (std::size_t l = 0; l < step; ++l) {
    const std::size_t c = places[l] + l;
    if (distances[l] < best || (distances[l] == best && c < found)) {
      best = distances[l];
      found = c;
    }
  }
  return best < std::numeric_limits<float>::infinity() ? found : nearest_slowly(point, w);
}

void kmeans_assign(const work::kmeans_assign& w, float* turned) {
  const std::size_t columns = padded_centres(w.k);
  for (std::size_t i = 0; i < w.dimensions; ++i) {
    for (std::size_t c = 0; c < columns; ++c) {
      turned[i * columns + c] = c < w.k ? w.centres[c * w.dimensions + i] : std::numeric_limits<float>::infinity();
    }
  }
  for (std::size_t p = 0; p < w.n; ++p) {
    const float* point = w.points + p * w.dimensions;
    // No dimension, no column to be infinitely far in.
    const std::size_t c = w.dimensions == 0 ? 0 : nearest(point, turned, w);
    w.index[p] = static_cast<std::uint32_t>(c);
    if (w.distance != nullptr) w.distance[p] = distance_of(point, w.centres + c * w.dimensions, w.dimensions);
  }
}

void add_point(const float* x, float* to, std::size_t n) {
  for_lanes<float>(n, [&](auto d, std::size_t i)
                          HWY_ATTR { hn::StoreU(hn::Add(hn::LoadU(d, to + i), hn::LoadU(d, x + i)), d, to + i); });
}

}  // namespace hydrogen::gpu::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hydrogen::gpu::host {

HWY_EXPORT(kmeans_assign);
HWY_EXPORT(add_point);

void run(const work::kmeans_assign& w, run_context& context) {
  if (w.n != 0) HWY_DYNAMIC_DISPATCH(kmeans_assign)(w, static_cast<float*>(context.scratch));
}

void run(const work::kmeans_accumulate& w, run_context& context) {
  const auto add = HWY_DYNAMIC_DISPATCH(add_point);
  std::fill_n(w.sums, w.k * w.dimensions, 0.0F);
  std::fill_n(w.counts, w.k, 0U);
  // A piece adds only to the centres that it has points of: the others would get +0.
  auto* sums = static_cast<float*>(context.scratch);
  auto* seen_in = reinterpret_cast<std::uint32_t*>(sums + w.k * w.dimensions);
  std::fill_n(seen_in, w.k, 0U);
  std::uint32_t touched[work::kmeans_accumulate::piece];
  std::uint32_t round = 0;
  for (std::size_t begin = 0; begin < w.n; begin += work::kmeans_accumulate::piece) {
    const std::size_t end = std::min(w.n, begin + work::kmeans_accumulate::piece);
    std::size_t centres = 0;
    ++round;
    for (std::size_t p = begin; p < end; ++p) {
      const auto c = w.index[p];
      if (c >= w.k) {
        context.fault = fmt::format("row {} has the index {}, there are {} centres", p, c, w.k);
        return;
      }
      if (seen_in[c] != round) {
        seen_in[c] = round;
        touched[centres++] = c;
        std::fill_n(sums + c * w.dimensions, w.dimensions, 0.0F);
      }
      add(w.points + p * w.dimensions, sums + c * w.dimensions, w.dimensions);
      ++w.counts[c];
    }
    for (std::size_t i = 0; i < centres; ++i) {
      const std::size_t at = touched[i] * w.dimensions;
      add(sums + at, w.sums + at, w.dimensions);
    }
  }
}

}  // namespace hydrogen::gpu::host
#endif
