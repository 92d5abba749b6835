#include <hydrogen/gpu/host/run.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>

namespace hydrogen::gpu::host {

void run(const work::histogram& w, run_context& context) {
  std::fill_n(w.sums, w.features * w.bin_count * 3, std::int64_t{0});
  for (std::size_t i = 0; i < w.used; ++i) {
    const std::size_t r = w.rows_used == nullptr ? i : w.rows_used[i];
    if (r >= w.rows) {
      context.fault = fmt::format("row {} is listed, there are {} rows", r, w.rows);
      return;
    }
    const float scaled_gradient = w.scale * w.gradient[r], scaled_hessian = w.scale * w.hessian[r];
    const auto g = static_cast<std::int64_t>(std::llrint(scaled_gradient));
    const auto h = static_cast<std::int64_t>(std::llrint(scaled_hessian));
    const std::uint8_t* bins = w.bins + r * w.features;
    std::int64_t* sums = w.sums;
    for (std::size_t f = 0; f < w.features; ++f, sums += w.bin_count * 3) {
      if (bins[f] >= w.bin_count) {
        context.fault =
            fmt::format("row {} has the bin {} of feature {}, there are {} bins", r, bins[f], f, w.bin_count);
        return;
      }
      std::int64_t* to = sums + std::size_t{bins[f]} * 3;
      to[0] += g;
      to[1] += h;
      ++to[2];
    }
  }
}

}  // namespace hydrogen::gpu::host
