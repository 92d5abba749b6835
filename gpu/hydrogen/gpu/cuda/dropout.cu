// Dropout: four elements for each counter of Philox.

#include <hydrogen/gpu/cuda/common.cuh>
#include <hydrogen/gpu/cuda/philox.hpp>

#include <cuda_runtime.h>

#include <cmath>

namespace hydrogen::gpu::cuda {
namespace {

struct dropping {
  const float* x;
  float* to;
  std::size_t n;
  const std::uint64_t* counter;
  std::uint64_t seed;
  std::uint32_t stays_from;  // a random number from here on
  float kept;                // 1 - probability
};

__global__ void drop(dropping d, bool vectors) {
  const std::uint64_t step = d.counter == nullptr ? 0 : *d.counter;
  const std::size_t fours = pieces_of(d.n, 4);
  for (std::size_t four = this_thread(); four < fours; four += all_threads()) {
    const philox_words random =
        philox({{static_cast<std::uint32_t>(four), static_cast<std::uint32_t>(std::uint64_t{four} >> 32),
                 static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(step >> 32)}},
               static_cast<std::uint32_t>(d.seed), static_cast<std::uint32_t>(d.seed >> 32));
    const auto one = [&](float x, int k) { return random.of[k] >= d.stays_from ? x / d.kept : 0.0F; };
    const std::size_t first = four * 4;
    if (vectors && first + 4 <= d.n) {
      const float4 v = reinterpret_cast<const float4*>(d.x)[four];
      reinterpret_cast<float4*>(d.to)[four] = make_float4(one(v.x, 0), one(v.y, 1), one(v.z, 2), one(v.w, 3));
    } else {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        if (first + k < d.n) d.to[first + k] = one(d.x[first + k], k);
      }
    }
  }
}

}  // namespace

void launch(const work::dropout& w, launch_context& context) {
  if (w.n == 0) return;
  // Exact in double; below 2^32, since the largest float below 1 is 1 - 2^-24.
  const auto stays_from = static_cast<std::uint32_t>(std::ceil(static_cast<double>(w.probability) * 0x1p32));
  const dropping d{w.x, w.to, w.n, w.counter, w.seed, stays_from, 1 - w.probability};
  drop<<<blocks_for(pieces_of(w.n, 4), context), block_threads, 0, context.stream>>>(d, all_aligned({w.x, w.to}));
}

}  // namespace hydrogen::gpu::cuda
