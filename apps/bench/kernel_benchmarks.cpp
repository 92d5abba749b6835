// `kernels`: those that move memory beside a copy of memory, those of layers beside PyTorch's operators. One thread.

#include <hydrogen/gpu/kernels/elementwise.hpp>
#include <hydrogen/gpu/kernels/layers.hpp>
#include <hydrogen/gpu/kernels/optimisers.hpp>
#include <hydrogen/gpu/kernels/reductions.hpp>

#include "bench.hpp"
#include "peer.hpp"
#include <spdlog/fmt/fmt.h>

#include <vector>

namespace hydrogen::bench {
namespace {

using namespace gpu;

/// A stream of a device, and how long work on it takes.
class bench_stream {
 public:
  explicit bench_stream(const std::shared_ptr<device>& on) : s_(value_or_throw(on->make_stream("kernels"))) {}

  stream& operator*() { return s_; }

  template <number T>
  buffer<T> filled(std::size_t n, T value) {
    auto b = s_.allocate<T>(n);
    kernels::fill(s_, value, b);
    return b;
  }
  void finish() { value_or_throw(s_.finish(now() + std::chrono::minutes(5))); }
  double ms(const std::function<void()>& enqueue) {
    finish();
    const auto begin = now();
    enqueue();
    finish();
    return milliseconds(now() - begin);
  }

 private:
  stream s_;
};

struct moving_kernel {
  std::string name;
  std::uint64_t bytes;  // read and written
  std::function<void()> enqueue;
};

/// In alternation with a copy of memory of about the same traffic.
void beside_a_copy(session& s, bench_stream& on, std::uint64_t total, const moving_kernel& k) {
  const auto from = on.filled<float>(total / 8, 1), to = on.filled<float>(total / 8, 2);
  const double copied = static_cast<double>(from.bytes() + to.bytes());
  const auto rate = [](double bytes, double ms) { return bytes / ms / 1e6; };
  std::vector<double> mine, copies, ratios;
  for (int i = -1; i < s.rounds(15); ++i) {
    const auto copy = rate(copied, on.ms([&] { kernels::copy(*on, from, to); }));
    const auto kernel = rate(static_cast<double>(k.bytes), on.ms(k.enqueue));
    if (i < 0) continue;
    copies.push_back(copy);
    mine.push_back(kernel);
    ratios.push_back(kernel / copy);
  }
  s.report({.name = k.name,
            .size = fmt::format("{:.0f} MB moved", static_cast<double>(k.bytes) / 1e6),
            .unit = "GB/s",
            .samples = mine,
            .beside = reference{"copy of memory", median(copies), median(ratios)},
            .aim = goal{goal::kind::ratio, 0.80},
            .note = {}});
}

template <number From, number To>
void cast_beside_a_copy(session& s, bench_stream& on, std::uint64_t total) {
  const auto n = total / (sizeof(From) + sizeof(To));
  const auto from = on.filled<From>(n, static_cast<From>(1.5F));
  const auto to = on.filled<To>(n, static_cast<To>(0.0F));
  const auto name = fmt::format("cast {} to {}", to_string(element_of<From>), to_string(element_of<To>));
  beside_a_copy(s, on, total, {name, from.bytes() + to.bytes(), [&] { kernels::cast(*on, from, to); }});
}

void moving(session& s, bench_stream& on) {
  const std::uint64_t total = s.scaled(256) * MiB;
  {
    const auto x = on.filled<float>(total / 4, 1);
    beside_a_copy(s, on, total, {"fill", x.bytes(), [&] { kernels::fill(*on, 3, x); }});
  }
  {
    const auto x = on.filled<float>(total / 8, 1), y = on.filled<float>(total / 8, 2);
    beside_a_copy(s, on, total, {"axpy", 3 * x.bytes(), [&] { kernels::axpy(*on, 1e-3F, x, y); }});
  }
  for (const std::size_t ranks : {2, 4, 8}) {
    std::vector<buffer<float>> from;
    const auto n = total / sizeof(float) / (ranks + 1);
    for (std::size_t i = 0; i < ranks; ++i) from.push_back(on.filled<float>(n, static_cast<float>(i)));
    const std::vector<buffer<float>> to{on.filled<float>(n, 0)};
    beside_a_copy(s, on, total, {fmt::format("reduce {} ranks", ranks), (ranks + 1) * n * sizeof(float), [&] {
                                   kernels::reduce_ranks(*on, work::reduction::sum, from, to);
                                 }});
  }
  cast_beside_a_copy<float, half>(s, on, total);
  cast_beside_a_copy<half, float>(s, on, total);
  cast_beside_a_copy<float, bfloat16>(s, on, total);
  cast_beside_a_copy<bfloat16, float>(s, on, total);
  cast_beside_a_copy<double, float>(s, on, total);
  {
    const auto n = total / 16;
    const kernels::adam_tensor t{on.filled<float>(n, 1), on.filled<float>(n, 0.1F), on.filled<float>(n, 0),
                                 on.filled<float>(n, 0)};
    const auto step = on.filled<std::uint64_t>(1, 0);
    beside_a_copy(s, on, total,
                  {"Adam", 7 * n * sizeof(float), [&] { kernels::adam_step(*on, std::span(&t, 1), {}, step); }});
  }
}

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
  bench_stream on(value_or_throw(device::open(virtual_devices(1, std::uint64_t{2} << 30, 1).front())));
  moving(s, on);
  layers(s, on);
}

const registration registered{"kernels", "kernels of learning on one thread, beside a copy of memory and PyTorch",
                              kernels_of_learning};

}  // namespace
}  // namespace hydrogen::bench
