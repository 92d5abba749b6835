#pragma once
// to[i] = f(in[i]...), in vectors of four where all addresses allow it.

#include <hydrogen/gpu/cuda/common.cuh>

namespace hydrogen::gpu::cuda {

/// `to` may be one of the inputs: an element is read before it is written, by the thread that writes it.
template <class F, class... In>
__global__ void map_one_by_one(F f, std::size_t n, float* to, const In*... in) {
  for (std::size_t i = this_thread(); i < n; i += all_threads()) to[i] = f(in[i]...);
}

template <class F, class... In>
__global__ void map_by_fours(F f, std::size_t n, float* to, const In*... in) {
  const std::size_t fours = n / 4;
  for (std::size_t i = this_thread(); i < fours; i += all_threads()) {
    const auto four = [&](const auto&... v) { return make_float4(f(v.x...), f(v.y...), f(v.z...), f(v.w...)); };
    reinterpret_cast<float4*>(to)[i] = four(reinterpret_cast<const float4*>(in)[i]...);
  }
  const std::size_t rest = fours * 4 + this_thread();
  if (rest < n) to[rest] = f(in[rest]...);
}

template <class F, class... In>
void map(launch_context& context, F f, std::size_t n, float* to, const In*... in) {
  if (n == 0) return;
  if (all_aligned({to, in...})) {
    map_by_fours<<<blocks_for((n + 3) / 4, context), block_threads, 0, context.stream>>>(f, n, to, in...);
  } else {
    map_one_by_one<<<blocks_for(n, context), block_threads, 0, context.stream>>>(f, n, to, in...);
  }
}

}  // namespace hydrogen::gpu::cuda
