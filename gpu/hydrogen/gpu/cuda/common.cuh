#pragma once
// What kernels share: grids, alignment, faults, and teams of threads that reduce a row together.

#include <hydrogen/gpu/cuda/launch.cuh>

#include <cstdint>
#include <initializer_list>

namespace hydrogen::gpu::cuda {

inline constexpr unsigned block_threads = 256;

/// Blocks for so many threads' work: as many as it takes, at most some for each multiprocessor. Kernels go round.
inline unsigned blocks_for(std::size_t work, const launch_context& context, unsigned per_block = block_threads) {
  const std::size_t needed = (work + per_block - 1) / per_block;
  const std::size_t most = std::size_t{context.device.multiprocessors} * 32;
  return static_cast<unsigned>(needed == 0 ? 1 : needed < most ? needed : most);
}

inline bool all_aligned(std::initializer_list<const void*> all) {
  for (const void* each : all) {
    if (reinterpret_cast<std::uintptr_t>(each) % 16 != 0) return false;
  }
  return true;
}

constexpr std::size_t pieces_of(std::size_t n, std::size_t piece) {
  return (n + piece - 1) / piece;
}

__device__ inline std::size_t this_thread() {
  return std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
}
__device__ inline std::size_t all_threads() {
  return std::size_t{gridDim.x} * blockDim.x;
}

/// The first kernel that reports owns the record; of its reports that with the lowest place stays.
__device__ inline void report(const fault_sink& sink, fault_kind kind, std::uint64_t place, std::uint64_t limit) {
  auto* owner = reinterpret_cast<unsigned long long*>(&sink.record->owner);
  const unsigned long long before = atomicCAS(owner, 0ULL, static_cast<unsigned long long>(sink.owner));
  if (before != 0 && before != sink.owner) return;
  if (before == 0) {
    sink.record->kind = kind;
    sink.record->limit = limit;
    sink.record->replay = sink.record->replays;
    *const_cast<volatile std::uint32_t*>(sink.noticed) = 1;
    __threadfence_system();
  }
  atomicMax(reinterpret_cast<unsigned long long*>(&sink.record->lowest), static_cast<unsigned long long>(~place));
}

/// Threads that share a row: a part of a warp, or a whole block. All threads of a block take part in every reduction,
/// also those whose team has no row.
template <unsigned Lanes>
struct row_team {
  static constexpr unsigned threads = Lanes <= 32 ? block_threads : Lanes;
  static constexpr unsigned in_block = threads / Lanes;

  static __device__ unsigned lane() { return threadIdx.x % Lanes; }
  static __device__ unsigned index() { return threadIdx.x / Lanes; }

  /// For one number of each lane; all lanes get the same. `combine` is commutative.
  template <class T, class Combine>
  static __device__ T reduce(T value, Combine combine) {
    constexpr unsigned width = Lanes < 32 ? Lanes : 32;
    for (unsigned step = width / 2; step != 0; step /= 2) {
      value = combine(value, __shfl_xor_sync(0xffffffffU, value, static_cast<int>(step), static_cast<int>(width)));
    }
    if constexpr (Lanes > 32) {
      constexpr unsigned warps = Lanes / 32;
      __shared__ T of_warp[warps];
      __syncthreads();  // what an earlier reduction left there has been read
      if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
      __syncthreads();
      value = of_warp[threadIdx.x % warps];
      for (unsigned step = warps / 2; step != 0; step /= 2) {
        value = combine(value, __shfl_xor_sync(0xffffffffU, value, static_cast<int>(step), static_cast<int>(warps)));
      }
    }
    return value;
  }
  static __device__ double sum(double value) {
    return reduce(value, [](double a, double b) { return a + b; });
  }
};

/// Calls f.template operator()<Lanes>() with a team that suits rows of so many columns.
template <class F>
void with_team(std::size_t columns, F f) {
  if (columns <= 64) return f.template operator()<8>();
  if (columns <= 1024) return f.template operator()<32>();
  if (columns <= 16384) return f.template operator()<256>();
  f.template operator()<1024>();
}

/// A block whose x goes over columns and whose y goes over rows, as full as it can be.
inline dim3 block_over(std::size_t columns) {
  unsigned x = 1;
  while (x < columns && x < block_threads) x *= 2;
  return {x, block_threads / x, 1};
}

}  // namespace hydrogen::gpu::cuda
