#include <hydrogen/gpu/host/past_cache.hpp>
#include <hydrogen/gpu/host/run.hpp>
#include <hydrogen/gpu/host/targets.hpp>
#include <hydrogen/gpu/host/widen.hpp>

#include <cstddef>

namespace hydrogen::gpu::host {
namespace {

constexpr std::size_t block = 1024;  // numbers, which pass through float

template <class To>
void cast_to(const work::cast& w) {
  write_output(static_cast<To*>(w.to), w.n, true, [&](To* to, std::size_t first, std::size_t n) {
    const auto* from = static_cast<const std::byte*>(w.from) + first * size_of(w.from_type);
    if (w.from_type == element::float32) return narrow(reinterpret_cast<const float*>(from), to, n);
    alignas(64) float values[block];
    for (std::size_t done = 0; done < n; done += block) {
      const std::size_t count = std::min(block, n - done);
      widen(from + done * size_of(w.from_type), w.from_type, values, count);
      narrow(values, to + done, count);
    }
  });
}

}  // namespace

void run(const work::cast& w, run_context& context) {
  if (w.from_type == w.to_type) return run(work::copy{w.from, w.to, w.n * size_of(w.to_type)}, context);
  switch (w.to_type) {
    case element::float32:
      return write_output(static_cast<float*>(w.to), w.n, true, [&](float* to, std::size_t first, std::size_t n) {
        widen(static_cast<const std::byte*>(w.from) + first * size_of(w.from_type), w.from_type, to, n);
      });
    case element::float64:
      return cast_to<double>(w);
    case element::half:
      return cast_to<half>(w);
    default:
      return cast_to<bfloat16>(w);
  }
}

}  // namespace hydrogen::gpu::host
