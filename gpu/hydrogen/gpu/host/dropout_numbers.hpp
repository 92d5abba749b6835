#pragma once
// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11), as `dropout` uses it.

#include <cstdint>

namespace hydrogen::gpu::host {

/// Factors of a round, and what the key grows by from one to the next.
inline constexpr std::uint32_t philox_factor0 = 0xD2511F53, philox_factor1 = 0xCD9E8D57;
inline constexpr std::uint32_t philox_growth0 = 0x9E3779B9, philox_growth1 = 0xBB67AE85;
inline constexpr int philox_rounds = 10;

struct dropout_numbers {
  std::uint64_t seed, step;
  std::uint32_t least;  // random word that stays
  float left;           // 1 - probability
};

}  // namespace hydrogen::gpu::host
