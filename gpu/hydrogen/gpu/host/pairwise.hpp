#pragma once
// The sums of pieces of a pairwise sum (work.hpp), summed in the same way until one is left; as they come, in memory
// that does not depend on how many there are. One thread.

#include <array>
#include <cstddef>

namespace hydrogen::gpu::host {

inline constexpr std::size_t pairwise_piece = 8192, pairwise_lanes = 256;

/// Lane l adds lane l + 128, l + 64 and so on.
template <class T>
T fold_lanes(T* lanes) {
  for (std::size_t half = pairwise_lanes / 2; half > 0; half /= 2) {
    for (std::size_t l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  }
  return lanes[0];
}

template <class T>
class piece_sums {
 public:
  void add(T sum) { add(sum, 0); }
  /// Of all pieces; of none +0.
  T total() {
    for (std::size_t l = 0; l < levels_.size(); ++l) {
      auto& level = levels_[l];
      if (!level.carried && level.n == 0) break;
      if (!level.carried) return fold_lanes(level.lanes);
      if (level.n != 0) add(fold_lanes(level.lanes), l + 1);
    }
    return T{0};
  }

 private:
  struct level {
    T lanes[pairwise_lanes];
    std::size_t n = 0;     // in the piece that is not full
    bool carried = false;  // pieces before it went to the next level
  };

  void add(T sum, std::size_t l) {
    auto& level = levels_[l];
    if (level.n == 0) {
      for (auto& lane : level.lanes) lane = T{-0.0F};
    }
    level.lanes[level.n % pairwise_lanes] += sum;
    if (++level.n < pairwise_piece) return;
    level.n = 0;
    level.carried = true;
    add(fold_lanes(level.lanes), l + 1);
  }

  std::array<level, 4> levels_;  // 2^65 elements
};

}  // namespace hydrogen::gpu::host
