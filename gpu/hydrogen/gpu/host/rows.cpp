#include <hydrogen/gpu/host/run.hpp>
#include <hydrogen/gpu/host/targets.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hydrogen/gpu/host/rows.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hydrogen/gpu/host/lanes-inl.hpp>

#include <spdlog/fmt/fmt.h>

#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace hydrogen::gpu::host::HWY_NAMESPACE {

void add_row(const float* x, float* to, std::size_t n) {
  for_lanes<float>(n, [&](auto d, std::size_t i)
                          HWY_ATTR { hn::StoreU(hn::Add(hn::LoadU(d, to + i), hn::LoadU(d, x + i)), d, to + i); });
}

}  // namespace hydrogen::gpu::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hydrogen::gpu::host {

HWY_EXPORT(add_row);

namespace {

bool is_row(std::size_t i, std::uint32_t index, std::size_t rows, run_context& context) {
  if (index < rows) return true;
  context.fault = fmt::format("row {} has the index {}, the table has {} rows", i, index, rows);
  return false;
}

}  // namespace

void run(const work::gather_rows& w, run_context& context) {
  for (std::size_t i = 0; i < w.n; ++i) {
    if (!is_row(i, w.index[i], w.table_rows, context)) return;
    if (w.columns == 0) continue;
    std::memcpy(w.to + i * w.columns, w.table + w.index[i] * w.columns, w.columns * sizeof(float));
  }
}

void run(const work::scatter_add_rows& w, run_context& context) {
  const auto add = HWY_DYNAMIC_DISPATCH(add_row);
  for (std::size_t i = 0; i < w.n; ++i) {
    if (!is_row(i, w.index[i], w.table_rows, context)) return;
    add(w.x + i * w.columns, w.table + w.index[i] * w.columns, w.columns);
  }
}

}  // namespace hydrogen::gpu::host
#endif
