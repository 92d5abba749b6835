#include "memory_kernels.hpp"

#include <hydrogen/gpu/kernels/optimisers.hpp>
#include <hydrogen/gpu/kernels/reductions.hpp>

#include <spdlog/fmt/fmt.h>

#include <vector>

namespace hydrogen::bench {
namespace {

using namespace gpu;

struct moving_kernel {
  std::string name;
  std::uint64_t bytes;  // read and written
  std::function<void()> enqueue;
};

/// In alternation with a copy of memory of about the same traffic.
void beside_a_copy(session& s, bench_stream& on, std::uint64_t total, int in_a_row, const moving_kernel& k) {
  const auto from = on.filled<float>(total / 8, 1), to = on.filled<float>(total / 8, 2);
  const double copied = static_cast<double>(from.bytes() + to.bytes());
  const auto rate = [&](double bytes, const std::function<void()>& enqueue) {
    const auto ms = on.ms([&] {
      for (int i = 0; i < in_a_row; ++i) enqueue();
    });
    return bytes * in_a_row / ms / 1e6;
  };
  std::vector<double> mine, copies, ratios;
  for (int i = -1; i < s.rounds(15); ++i) {
    const auto copy = rate(copied, [&] { kernels::copy(*on, from, to); });
    const auto kernel = rate(static_cast<double>(k.bytes), k.enqueue);
    if (i < 0) continue;
    copies.push_back(copy);
    mine.push_back(kernel);
    ratios.push_back(kernel / copy);
  }
  s.report({.name = fmt::format("{}, {}", k.name, on.on().info().name),
            .size = fmt::format("{:.0f} MB moved", static_cast<double>(k.bytes) / 1e6),
            .unit = "GB/s",
            .samples = mine,
            .beside = reference{"copy of memory", median(copies), median(ratios)},
            .aim = goal{goal::kind::ratio, 0.80},
            .note = {},
            .device = on.on().description()});
}

template <number From, number To>
void cast_beside_a_copy(session& s, bench_stream& on, std::uint64_t total, int in_a_row) {
  const auto n = total / (sizeof(From) + sizeof(To));
  const auto from = on.filled<From>(n, static_cast<From>(1.5F));
  const auto to = on.filled<To>(n, static_cast<To>(0.0F));
  const auto name = fmt::format("cast {} to {}", to_string(element_of<From>), to_string(element_of<To>));
  beside_a_copy(s, on, total, in_a_row, {name, from.bytes() + to.bytes(), [&] { kernels::cast(*on, from, to); }});
}

}  // namespace

void measure_moving_kernels(session& s, bench_stream& on, std::uint64_t total, int in_a_row) {
  {
    const auto x = on.filled<float>(total / 4, 1);
    beside_a_copy(s, on, total, in_a_row, {"fill", x.bytes(), [&] { kernels::fill(*on, 3, x); }});
  }
  {
    const auto x = on.filled<float>(total / 8, 1), y = on.filled<float>(total / 8, 2);
    beside_a_copy(s, on, total, in_a_row, {"axpy", 3 * x.bytes(), [&] { kernels::axpy(*on, 1e-3F, x, y); }});
  }
  for (const std::size_t ranks : {2, 4, 8}) {
    std::vector<buffer<float>> from;
    const auto n = total / sizeof(float) / (ranks + 1);
    for (std::size_t i = 0; i < ranks; ++i) from.push_back(on.filled<float>(n, static_cast<float>(i)));
    const std::vector<buffer<float>> to{on.filled<float>(n, 0)};
    beside_a_copy(s, on, total, in_a_row, {fmt::format("reduce {} ranks", ranks), (ranks + 1) * n * sizeof(float), [&] {
                                             kernels::reduce_ranks(*on, work::reduction::sum, from, to);
                                           }});
  }
  cast_beside_a_copy<float, half>(s, on, total, in_a_row);
  cast_beside_a_copy<half, float>(s, on, total, in_a_row);
  cast_beside_a_copy<float, bfloat16>(s, on, total, in_a_row);
  cast_beside_a_copy<bfloat16, float>(s, on, total, in_a_row);
  cast_beside_a_copy<double, float>(s, on, total, in_a_row);
  {
    const auto n = total / 16;
    const kernels::adam_tensor t{on.filled<float>(n, 1), on.filled<float>(n, 0.1F), on.filled<float>(n, 0),
                                 on.filled<float>(n, 0)};
    const auto step = on.filled<std::uint64_t>(1, 0);
    beside_a_copy(s, on, total, in_a_row,
                  {"Adam", 7 * n * sizeof(float), [&] { kernels::adam_step(*on, std::span(&t, 1), {}, step); }});
  }
}

}  // namespace hydrogen::bench
