#pragma once
// Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11. Four random words for
// a counter and a key, without a state. On the host and in kernels.

#include <cstdint>

#ifdef __CUDACC__
#define HYDROGEN_ON_BOTH __host__ __device__
#else
#define HYDROGEN_ON_BOTH
#endif

namespace hydrogen::gpu::cuda {

struct philox_words {
  std::uint32_t of[4];
};

HYDROGEN_ON_BOTH inline philox_words philox(philox_words counter, std::uint32_t key_low, std::uint32_t key_high) {
  constexpr int rounds = 10;
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
  for (int i = 0; i < rounds; ++i) {
    const std::uint64_t a = std::uint64_t{0xD2511F53U} * counter.of[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57U} * counter.of[2];
    counter = {{static_cast<std::uint32_t>(b >> 32) ^ counter.of[1] ^ key_low, static_cast<std::uint32_t>(b),
                static_cast<std::uint32_t>(a >> 32) ^ counter.of[3] ^ key_high, static_cast<std::uint32_t>(a)}};
    key_low += 0x9E3779B9U;
    key_high += 0xBB67AE85U;
  }
  return counter;
}

}  // namespace hydrogen::gpu::cuda

#undef HYDROGEN_ON_BOTH
