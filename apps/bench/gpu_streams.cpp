#include "gpu_streams.hpp"

#include <hydrogen/gpu/kernels/matrix_product.hpp>

#include "bench_device.hpp"
#include "launching_actors.hpp"
#include "timed_kernel.hpp"
#include <spdlog/fmt/fmt.h>

#include <utility>

namespace hydrogen::bench {
namespace {

constexpr std::size_t actor_count = 8;

struct shared_work {
  std::string name, size, unit;
  double amount;                                                // of all parts, in units by ms; 0: ms are the figure
  std::function<void(gpu::stream&, std::size_t part)> enqueue;  // one of `actor_count` parts
  goal aim;
};

/// Milliseconds of all parts, each by an actor of its own, or all by one.
double all_parts_ms(launching_actors& by, const shared_work& w, bool alone) {
  std::vector<launching_actors::action> actions;
  if (alone) {
    actions.push_back([&w](gpu::stream& s, std::uint64_t) {
      for (std::size_t part = 0; part < actor_count; ++part) w.enqueue(s, part);
    });
  }
  for (std::size_t part = 0; part < actor_count && !alone; ++part) {
    actions.push_back([&w, part](gpu::stream& s, std::uint64_t) { w.enqueue(s, part); });
  }
  const auto begin = now();
  by.run(actions, 1);
  return milliseconds(now() - begin);
}

void beside_one_stream(session& s, const gpu::device& on, launching_actors& by, const shared_work& w) {
  std::vector<double> mine, one, ratios;
  for (int i = -1; i < s.rounds(15); ++i) {
    const auto alone = all_parts_ms(by, w, true);
    const auto together = all_parts_ms(by, w, false);
    if (i < 0) continue;
    const auto figure = [&](double ms) { return w.amount == 0 ? ms : w.amount / ms; };
    mine.push_back(figure(together));
    one.push_back(figure(alone));
    ratios.push_back(alone / together);
  }
  s.report({.name = fmt::format("{} actors, {}, {}", actor_count, w.name, on.info().name),
            .size = w.size,
            .unit = w.unit,
            .samples = mine,
            .beside = reference{"one stream", median(one), median(ratios)},
            .aim = w.aim,
            .note = {},
            .device = on.description()});
}

void memory_bound(session& s, bench_stream& on, launching_actors& by) {
  const auto n = s.scaled(256) * MiB / 12;  // a kernel moves 256 MiB
  const int times = s.quick() ? 2 : 32;
  std::vector<std::pair<gpu::buffer<float>, gpu::buffer<float>>> operands;
  for (std::size_t i = 0; i < actor_count; ++i) operands.emplace_back(on.filled<float>(n, 1), on.filled<float>(n, 2));
  on.finish();
  const double bytes = static_cast<double>(actor_count * n * 12) * times;
  beside_one_stream(s, on.on(), by,
                    {"axpy", fmt::format("8 x {} x {} MB moved", times, n * 12 / 1'000'000), "GB/s", bytes / 1e6,
                     [&](gpu::stream& to, std::size_t part) {
                       const auto& [x, y] = operands[part];
                       for (int k = 0; k < times; ++k) gpu::kernels::axpy(to, 1e-3F, x, y);
                     },
                     goal{goal::kind::ratio, 0.90}});
}

void compute_bound(session& s, bench_stream& on, launching_actors& by) {
  const std::size_t n = s.quick() ? 64 : 2048;
  const int times = s.quick() ? 2 : 16;
  std::vector<gpu::matrix_of<float>> a, b, c;
  for (std::size_t i = 0; i < actor_count; ++i) {
    for (auto* all : {&a, &b, &c}) all->emplace_back(on.filled<float>(n * n, 0.01F), n, n);
  }
  on.finish();
  const auto cube = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
  beside_one_stream(
      s, on.on(), by,
      {"matrix product", fmt::format("8 x {} x {} cubed", times, n), "GFLOP/s", 2 * cube * actor_count * times / 1e6,
       [&](gpu::stream& to, std::size_t part) {
         for (int k = 0; k < times; ++k) gpu::kernels::matrix_product(to, 1, a[part], b[part], 0, c[part]);
       },
       goal{goal::kind::ratio, 0.90}});
}

void small(session& s, bench_stream& on, launching_actors& by) {
  constexpr int times = 8;
  // Each writes memory of its own: the same would put them in order.
  std::vector<gpu::buffer<std::uint64_t>> flags;
  for (std::size_t i = 0; i < actor_count; ++i) flags.push_back(on.filled<std::uint64_t>(1, 0));
  on.finish();
  beside_one_stream(s, on.on(), by,
                    {"small kernels", fmt::format("8 x {}, 1 block, 200 us", times), "ms", 0,
                     [&](gpu::stream& to, std::size_t part) {
                       for (int k = 0; k < times; ++k) launch_timed(to, cycles_of_200_us, 1, flags[part]);
                     },
                     goal{goal::kind::ratio, 3}});
}

}  // namespace

void measure_streams(session& s, const gpu::device_info& gpu) {
  const auto device = value_or_throw(gpu::device::open(gpu));
  bench_stream on(device);
  launching_actors by(device, actor_count);
  memory_bound(s, on, by);
  compute_bound(s, on, by);
  small(s, on, by);
}

}  // namespace hydrogen::bench
