#include "pinned_copies.hpp"

#include "raw_cuda.hpp"
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <optional>

namespace hydrogen::bench {
namespace {

/// One at a time and waited for; `in_a_row` above 1: so many, and one wait.
struct copy_case {
  std::uint64_t mib;
  int in_a_row;
};

void measure_copies(session& s, bench_stream& on, const copy_case& c) {
  const auto n = s.scaled(c.mib) * MiB / sizeof(float);
  const auto here = (*on).allocate_pinned<float>(n);
  const auto there = on.filled<float>(n, 1);
  std::fill_n(here.on_host().data(), n, 1.0F);
  raw_cuda::pinned_copy plain(here.bytes());
  const auto rate = [&](double ms) { return static_cast<double>(here.bytes()) * c.in_a_row / ms / 1e6; };
  const int rounds = s.rounds(static_cast<int>(std::clamp<std::uint64_t>(2048 / c.mib, 15, 200)));
  for (const auto where : {raw_cuda::way::to_device, raw_cuda::way::to_host}) {
    const bool up = where == raw_cuda::way::to_device;
    std::vector<double> mine, beside, ratios;
    for (int i = -1; i < rounds; ++i) {
      const auto begin = now();
      plain.run(where, c.in_a_row);
      const auto raw = rate(milliseconds(now() - begin));
      const auto ours = rate(on.ms([&] {
        for (int k = 0; k < c.in_a_row; ++k) gpu::kernels::copy(*on, up ? here : there, up ? there : here);
      }));
      if (i < 0) continue;
      mine.push_back(ours);
      beside.push_back(raw);
      ratios.push_back(ours / raw);
    }
    s.report({.name = fmt::format("pinned copy to the {}, {}", up ? "device" : "host", on.on().info().name),
              .size = c.in_a_row == 1 ? fmt::format("{} MiB", c.mib) : fmt::format("{} x {} MiB", c.in_a_row, c.mib),
              .unit = "GB/s",
              .samples = mine,
              .beside = reference{"cudaMemcpyAsync", median(beside), median(ratios)},
              .aim = c.in_a_row == 1 ? std::optional(goal{goal::kind::ratio, 0.90}) : std::nullopt,
              .note = {},
              .device = on.on().description()});
  }
}

}  // namespace

void measure_pinned_copies(session& s, const gpu::device_info& gpu) {
  bench_stream on(value_or_throw(gpu::device::open(gpu)));
  for (const auto& c : {copy_case{4, 1}, copy_case{4, 16}, copy_case{64, 1}, copy_case{256, 1}}) {
    measure_copies(s, on, c);
  }
}

}  // namespace hydrogen::bench
