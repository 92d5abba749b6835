// `kernels`: those that move memory beside a copy of memory, those of layers beside PyTorch's operators, on one thread;
// where there is a GPU, those that move memory there beside a copy on it, and copies of pinned memory beside CUDA's
// own.

#include <hydrogen/gpu/kernels/elementwise.hpp>
#include <hydrogen/gpu/kernels/layers.hpp>

#include "bench.hpp"
#include "bench_device.hpp"
#include "memory_kernels.hpp"
#include "peer.hpp"
#include "pinned_copies.hpp"
#include <spdlog/fmt/fmt.h>

#include <vector>

namespace hydrogen::bench {
namespace {

using namespace gpu;

void layers(session& s, bench_stream& on) {
  const std::size_t rows = s.scaled(8192), columns = 1024;
  std::vector<float> values(rows * columns);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * 2654435761 % 4001) / 1000 - 2;
  std::vector<std::uint32_t> which(rows);
  for (std::size_t r = 0; r < rows; ++r) which[r] = static_cast<std::uint32_t>(r * 7 % columns);
  const matrix_of<float> x((*on).upload(std::span(values)), rows, columns),
      to(on.filled<float>(values.size(), 0), rows, columns);
  const auto labels = (*on).upload(std::span(which));
  const auto weight = on.filled<float>(columns, 1.5F), bias = on.filled<float>(columns, 0.5F);
  const auto mean = on.filled<float>(rows, 0), inverse = on.filled<float>(rows, 0), loss = on.filled<float>(rows, 0);
  const auto beside_torch = [&](const char* name, const char* work, const std::function<void()>& enqueue) {
    const auto rounds = s.rounds(15);
    std::vector<double> mine;
    for (int i = -1; i < rounds; ++i) {
      const auto ms = on.ms(enqueue);
      if (i >= 0) mine.push_back(ms);
    }
    report_beside_peers(s,
                        {name, fmt::format("{} x {}", rows, columns), "ms", mine, {}, goal{goal::kind::ratio, 1}, {}},
                        {measure_peer("torch", work, {fmt::format("{}/{}", rows, columns)}, rounds)});
  };
  beside_torch("GELU", "gelu", [&] { kernels::activate(*on, work::function::gelu, x.values, to.values); });
  beside_torch("layer norm", "layer_norm",
               [&] { kernels::layer_norm(*on, x, weight, bias, 1e-5F, to, mean, inverse); });
  beside_torch("softmax cross-entropy and gradient", "cross_entropy",
               [&] { kernels::softmax_cross_entropy(*on, x, labels, 1, loss, to.values); });
}

void kernels_of_learning(session& s) {
  {
    bench_stream on(value_or_throw(device::open(virtual_devices(1, std::uint64_t{2} << 30, 1).front())));
    measure_moving_kernels(s, on, s.scaled(256) * MiB, 1);
    layers(s, on);
  }
  const auto gpu = first_gpu(s);
  if (!gpu) return;
  {
    bench_stream on(value_or_throw(device::open(*gpu)));
    for (const std::uint64_t total : {256, 1024}) measure_moving_kernels(s, on, s.scaled(total) * MiB, 20);
  }
  measure_pinned_copies(s, *gpu);
}

const registration registered{
    "kernels",
    "kernels of learning beside a copy of memory: on one thread, where PyTorch's stand beside "
    "them, too, and on a GPU",
    kernels_of_learning};

}  // namespace
}  // namespace hydrogen::bench
