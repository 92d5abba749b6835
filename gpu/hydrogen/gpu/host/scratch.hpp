#pragma once
// The scratch memory of the host's kernels: how much each needs, and what lies where.

#include <algorithm>
#include <cstddef>

namespace hydrogen::gpu::host {

/// Columns of the centres' transpose in `kmeans_assign`: whole steps of four vectors of any target.
constexpr std::size_t padded_centres(std::size_t k) {
  constexpr std::size_t step = 64;
  return (k + step - 1) / step * step;
}

/// `reduce_ranks` goes through its inputs in blocks of so many numbers: short enough for the second-level cache, where
/// sums of some ranks wait for others, and long enough for the CPU to fetch each of up to 16 inputs ahead. Four
/// inputs, two values of each level of the tree above, the result, and what it is rounded to.
inline constexpr std::size_t reduce_blocks = 14;
constexpr std::size_t reduce_block(std::size_t n, std::size_t each) {
  constexpr std::size_t bytes = 16384, step = 64;
  return n < bytes / each ? (n + step - 1) / step * step : bytes / each;
}

}  // namespace hydrogen::gpu::host
