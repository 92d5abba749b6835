#pragma once
// Devices under measurement. Main thread.

#include <hydrogen/gpu/kernels/elementwise.hpp>

#include "bench.hpp"

#include <functional>
#include <memory>
#include <optional>

namespace hydrogen::bench {

/// The first GPU that is found here; none: a remark of the benchmark says why. Its context stays until the process
/// ends, so that it is the same for devices that are opened and closed, and for the CUDA runtime beside them.
std::optional<gpu::device_info> first_gpu(session&);

/// A stream of a device, and how long work on it takes.
class bench_stream {
 public:
  explicit bench_stream(const std::shared_ptr<gpu::device>& on) : s_(value_or_throw(on->make_stream("bench"))) {}

  gpu::stream& operator*() { return s_; }
  const gpu::device& on() const { return s_.on(); }

  template <gpu::number T>
  gpu::buffer<T> filled(std::size_t n, T value) {
    auto b = s_.allocate<T>(n);
    gpu::kernels::fill(s_, value, b);
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
  gpu::stream s_;
};

}  // namespace hydrogen::bench
