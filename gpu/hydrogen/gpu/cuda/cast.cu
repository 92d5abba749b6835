// Casts between float, double, half and bfloat16. The hardware's conversions round as half.hpp does; a NaN goes by
// half.hpp instead, and as x86 has it between float and double, so that its bits are the host's, too.

#include <hydrogen/gpu/cuda/common.cuh>

#include <cuda_runtime.h>

#include <bit>

namespace hydrogen::gpu::cuda {
namespace {

/// Numbers as they lie in memory.
using half_bits = std::uint16_t;
struct bfloat16_bits {
  std::uint16_t bits;
};

__device__ float narrow(double x) {
  if (x == x) [[likely]]
    return static_cast<float>(x);
  const auto bits = std::bit_cast<std::uint64_t>(x);
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits >> 32 & 0x80000000U) | 0x7fc00000U |
                              static_cast<std::uint32_t>(bits >> 29 & 0x3fffffU));
}

__device__ double widen(float x) {
  if (x == x) [[likely]]
    return static_cast<double>(x);
  const std::uint64_t bits = std::bit_cast<std::uint32_t>(x);
  return std::bit_cast<double>((bits & 0x80000000U) << 32 | 0x7ff8000000000000U | (bits & 0x3fffffU) << 29);
}

__device__ float to_float(float x) {
  return x;
}
__device__ float to_float(double x) {
  return narrow(x);
}
__device__ float to_float(half_bits x) {
  hydrogen::half h;
  h.bits = x;
  if ((x & 0x7fffU) > 0x7c00U) return static_cast<float>(h);
  float out;
  asm("cvt.f32.f16 %0, %1;" : "=f"(out) : "h"(x));
  return out;
}
__device__ float to_float(bfloat16_bits x) {
  return std::bit_cast<float>(std::uint32_t{x.bits} << 16);
}

template <class To>
__device__ To from_float(float x) {
  if constexpr (sizeof(To) == sizeof(double)) {
    return widen(x);
  } else if constexpr (sizeof(To) == sizeof(float)) {
    return x;
  } else if constexpr (std::is_same_v<To, bfloat16_bits>) {
    return {hydrogen::bfloat16(x).bits};
  } else {
    if (x != x) return hydrogen::half(x).bits;
    half_bits out;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out) : "f"(x));
    return out;
  }
}

template <class T>
struct alignas(sizeof(T) * 4 < 16 ? sizeof(T) * 4 : 16) four {
  T of[4];
};

template <class From, class To>
__global__ void cast_by_fours(const From* from, To* to, std::size_t n) {
  const std::size_t fours = n / 4;
  for (std::size_t i = this_thread(); i < fours; i += all_threads()) {
    const four<From> in = reinterpret_cast<const four<From>*>(from)[i];
    four<To> out;
    for (int k = 0; k < 4; ++k) out.of[k] = from_float<To>(to_float(in.of[k]));
    reinterpret_cast<four<To>*>(to)[i] = out;
  }
  const std::size_t rest = fours * 4 + this_thread();
  if (rest < n) to[rest] = from_float<To>(to_float(from[rest]));
}

template <class From, class To>
__global__ void cast_one_by_one(const From* from, To* to, std::size_t n) {
  for (std::size_t i = this_thread(); i < n; i += all_threads()) to[i] = from_float<To>(to_float(from[i]));
}

template <class From, class To>
void cast(const work::cast& w, launch_context& context) {
  const auto* from = static_cast<const From*>(w.from);
  auto* to = static_cast<To*>(w.to);
  if (all_aligned({from, to})) {
    cast_by_fours<<<blocks_for((w.n + 3) / 4, context), block_threads, 0, context.stream>>>(from, to, w.n);
  } else {
    cast_one_by_one<<<blocks_for(w.n, context), block_threads, 0, context.stream>>>(from, to, w.n);
  }
}

template <class From>
void cast_from(const work::cast& w, launch_context& context) {
  switch (w.to_type) {
    case element::float32:
      return cast<From, float>(w, context);
    case element::float64:
      return cast<From, double>(w, context);
    case element::half:
      return cast<From, half_bits>(w, context);
    case element::bfloat16:
      return cast<From, bfloat16_bits>(w, context);
    default:
      context.check(cudaErrorInvalidValue, "cast");
  }
}

}  // namespace

void launch(const work::cast& w, launch_context& context) {
  if (w.n == 0) return;
  if (w.from_type == w.to_type) return launch(work::copy{w.from, w.to, w.n * size_of(w.from_type)}, context);
  switch (w.from_type) {
    case element::float32:
      return cast_from<float>(w, context);
    case element::float64:
      return cast_from<double>(w, context);
    case element::half:
      return cast_from<half_bits>(w, context);
    case element::bfloat16:
      return cast_from<bfloat16_bits>(w, context);
    default:
      context.check(cudaErrorInvalidValue, "cast");
  }
}

}  // namespace hydrogen::gpu::cuda
