#pragma once
// The pairwise order of addition of work.hpp: a block of 256 threads for each piece of 8,192 elements.

#include <hydrogen/gpu/cuda/common.cuh>

namespace hydrogen::gpu::cuda {

inline constexpr unsigned pairwise_piece = 8192;
inline constexpr unsigned pairwise_lanes = 256;
static_assert(pairwise_lanes == block_threads);

/// The sum of get(0) .. get(n - 1), n at most a piece; it counts in thread 0. All threads of the block take part.
template <class T, class Get>
__device__ T sum_of_piece(unsigned n, Get get) {
  T sum = T(-0.0);
#pragma unroll 16
  for (unsigned i = threadIdx.x; i < n; i += pairwise_lanes) sum = sum + get(i);
  __shared__ T lanes[pairwise_lanes];
  __syncthreads();  // what the sum before left there has been read
  lanes[threadIdx.x] = sum;
  for (unsigned half = pairwise_lanes / 2; half >= 32; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) lanes[threadIdx.x] = lanes[threadIdx.x] + lanes[threadIdx.x + half];
  }
  __syncthreads();
  sum = lanes[threadIdx.x % 32];
  for (unsigned half = 16; half != 0; half /= 2) sum = sum + __shfl_down_sync(0xffffffffU, sum, half);
  return sum;
}

/// The sums of pieces are summed until one is left, in their own memory, by one block; it counts in thread 0.
template <class T>
__device__ T sum_of_sums(T* sums, std::size_t count) {
  if (count == 0) return T(0.0);
  while (count > 1) {
    const std::size_t pieces = pieces_of(count, pairwise_piece);
    for (std::size_t p = 0; p < pieces; ++p) {
      const std::size_t first = p * pairwise_piece;
      const std::size_t left = count - first;
      const auto n = static_cast<unsigned>(left < pairwise_piece ? left : pairwise_piece);
      const T sum = sum_of_piece<T>(n, [&](unsigned i) { return sums[first + i]; });
      if (threadIdx.x == 0) sums[p] = sum;  // before `first`, or read by now
    }
    __syncthreads();
    count = pieces;
  }
  return sums[0];
}

}  // namespace hydrogen::gpu::cuda
