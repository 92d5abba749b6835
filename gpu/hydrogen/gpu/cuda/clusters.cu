// k-means: the nearest centre of each point, and the sums of the points of each centre.

#include <hydrogen/gpu/cuda/common.cuh>

#include <cuda_runtime.h>

#include <algorithm>

namespace hydrogen::gpu::cuda {
namespace {

// ---- assign --------------------------------------------------------------------------------------------------------

/// A block holds 64 points against 64 centres at a time, in slices of 16 dimensions; a thread has 4 x 4 of the
/// distances in registers, dimensions ascending. Half a warp shares its points.
constexpr unsigned tile = 64;
constexpr unsigned slice = 16;
constexpr unsigned mine = 4;
constexpr unsigned side = tile / mine;
static_assert(side * side == block_threads);

constexpr std::uint32_t none = 0xffffffffU;

struct nearest {
  float distance;
  std::uint32_t centre;  // none: no number yet, since a NaN is farther than any number
};

__device__ void offer(nearest& best, float distance, std::uint32_t centre) {
  if (distance != distance || centre == none) return;
  const bool nearer =
      best.centre == none || distance < best.distance || (distance == best.distance && centre < best.centre);
  if (nearer) best = {distance, centre};
}

/// Rows first .. first + 64 of a matrix, dimensions from .. from + count, turned round; 0 beyond the last row.
__device__ void load_slice(float (&to)[slice][tile + 4], const float* matrix, std::size_t rows, std::size_t dimensions,
                           std::size_t first, std::size_t from, unsigned count) {
  for (unsigned i = threadIdx.x; i < tile * slice; i += block_threads) {
    const unsigned row = i / slice, d = i % slice;
    if (d < count) to[d][row] = first + row < rows ? matrix[(first + row) * dimensions + from + d] : 0.0F;
  }
}

__global__ void __launch_bounds__(block_threads) assign(work::kmeans_assign w) {
  __shared__ __align__(16) float points[slice][tile + 4];
  __shared__ __align__(16) float centres[slice][tile + 4];
  const unsigned along = threadIdx.x % side, down = threadIdx.x / side;
  const std::size_t step = std::size_t{gridDim.x} * tile;
  for (std::size_t first = std::size_t{blockIdx.x} * tile; first < w.n; first += step) {
    nearest best[mine];
    for (auto& b : best) b = {0, none};
    for (std::size_t centre = 0; centre < w.k; centre += tile) {
      float distance[mine][mine] = {};
      for (std::size_t from = 0; from < w.dimensions; from += slice) {
        const auto count = static_cast<unsigned>(w.dimensions - from < slice ? w.dimensions - from : slice);
        __syncthreads();  // the slices before have been read
        load_slice(points, w.points, w.n, w.dimensions, first, from, count);
        load_slice(centres, w.centres, w.k, w.dimensions, centre, from, count);
        __syncthreads();
        for (unsigned d = 0; d < count; ++d) {
          const float4 p = *reinterpret_cast<const float4*>(&points[d][down * mine]);
          const float4 c = *reinterpret_cast<const float4*>(&centres[d][along * mine]);
          const float of_points[mine] = {p.x, p.y, p.z, p.w}, of_centres[mine] = {c.x, c.y, c.z, c.w};
#pragma unroll
          for (unsigned i = 0; i < mine; ++i) {
#pragma unroll
            for (unsigned j = 0; j < mine; ++j) {
              const float difference = of_points[i] - of_centres[j];
              distance[i][j] = distance[i][j] + difference * difference;
            }
          }
        }
      }
#pragma unroll
      for (unsigned j = 0; j < mine; ++j) {
        const std::size_t c = centre + along * mine + j;
        if (c >= w.k) continue;
#pragma unroll
        for (unsigned i = 0; i < mine; ++i) offer(best[i], distance[i][j], static_cast<std::uint32_t>(c));
      }
    }
#pragma unroll
    for (unsigned i = 0; i < mine; ++i) {
      for (unsigned lanes = side / 2; lanes != 0; lanes /= 2) {
        const float distance = __shfl_xor_sync(0xffffffffU, best[i].distance, static_cast<int>(lanes), side);
        const std::uint32_t centre = __shfl_xor_sync(0xffffffffU, best[i].centre, static_cast<int>(lanes), side);
        offer(best[i], distance, centre);
      }
      const std::size_t p = first + down * mine + i;
      if (along != 0 || p >= w.n) continue;
      const bool found = best[i].centre != none;
      w.index[p] = found ? best[i].centre : 0;
      if (w.distance != nullptr) w.distance[p] = found ? best[i].distance : __uint_as_float(0x7fc00000U);
    }
  }
}

// ---- accumulate ----------------------------------------------------------------------------------------------------

/// How many pieces are added up at a time: sums of pieces take no more memory than this.
constexpr std::size_t most_partial_bytes = std::size_t{64} << 20;

std::size_t pieces_at_once(const work::kmeans_accumulate& w) {
  const std::size_t pieces = pieces_of(w.n, work::kmeans_accumulate::piece);
  const std::size_t each = w.k * w.dimensions * sizeof(float);
  if (pieces == 0 || each == 0) return 0;
  return std::min(pieces, std::max<std::size_t>(1, most_partial_bytes / each));
}

constexpr unsigned most_counted_in_block = 8192;  // centres, whose counts fit into shared memory

__global__ void count_points(work::kmeans_accumulate w, fault_sink faults) {
  __shared__ std::uint32_t counts[most_counted_in_block];
  const bool in_block = w.k <= most_counted_in_block;
  if (in_block) {
    for (unsigned c = threadIdx.x; c < w.k; c += blockDim.x) counts[c] = 0;
    __syncthreads();
  }
  for (std::size_t p = this_thread(); p < w.n; p += all_threads()) {
    const std::uint32_t centre = w.index[p];
    if (centre >= w.k) {
      report(faults, fault_kind::centre, row_of_place(p) | centre, w.k);
    } else {
      atomicAdd(in_block ? &counts[centre] : &w.counts[centre], 1U);
    }
  }
  if (!in_block) return;
  __syncthreads();
  for (unsigned c = threadIdx.x; c < w.k; c += blockDim.x) {
    if (counts[c] != 0) atomicAdd(&w.counts[c], counts[c]);
  }
}

/// Threads of x have a dimension each and go through the points of a piece in order; those of y take pieces. A cell of
/// the sums is only ever touched by one thread. `in_shared`: the sums of the block's pieces fit into shared memory.
__global__ void sum_pieces(work::kmeans_accumulate w, std::size_t first_piece, std::size_t pieces, float* partial,
                           bool in_shared) {
  extern __shared__ float shared_sums[];
  const std::size_t piece = std::size_t{blockIdx.x} * blockDim.y + threadIdx.y;
  const std::size_t d = std::size_t{blockIdx.y} * blockDim.x + threadIdx.x;
  if (piece >= pieces || d >= w.dimensions) return;
  float* out = partial + piece * w.k * w.dimensions + d;
  // In shared memory: [piece of the block][centre][dimension of the block].
  float* sums = in_shared ? shared_sums + threadIdx.y * w.k * blockDim.x + threadIdx.x : out;
  const std::size_t stride = in_shared ? blockDim.x : w.dimensions;
  for (std::size_t c = 0; c < w.k; ++c) sums[c * stride] = 0;
  const std::size_t begin = (first_piece + piece) * work::kmeans_accumulate::piece;
  const std::size_t end = begin + work::kmeans_accumulate::piece < w.n ? begin + work::kmeans_accumulate::piece : w.n;
  constexpr unsigned ahead = 8;  // points read before they are added, since their sums could overlap them
  for (std::size_t p = begin; p < end; p += ahead) {
    std::uint32_t centre[ahead];
    float value[ahead];
#pragma unroll
    for (unsigned i = 0; i < ahead; ++i) {
      const bool there = p + i < end;
      centre[i] = there ? w.index[p + i] : none;
      value[i] = there ? w.points[(p + i) * w.dimensions + d] : 0.0F;
    }
#pragma unroll
    for (unsigned i = 0; i < ahead; ++i) {
      if (p + i < end && centre[i] < w.k) sums[centre[i] * stride] = sums[centre[i] * stride] + value[i];
    }
  }
  if (!in_shared) return;
  for (std::size_t c = 0; c < w.k; ++c) out[c * w.dimensions] = sums[c * stride];
}

__global__ void add_pieces(const float* partial, std::size_t pieces, std::size_t cells, float* sums, bool begin) {
  for (std::size_t i = this_thread(); i < cells; i += all_threads()) {
    float sum = begin ? 0.0F : sums[i];
#pragma unroll 8
    for (std::size_t p = 0; p < pieces; ++p) sum = sum + partial[p * cells + i];
    sums[i] = sum;
  }
}

}  // namespace

void launch(const work::kmeans_assign& w, launch_context& context) {
  if (w.n == 0 || w.k == 0) return;
  assign<<<blocks_for(w.n, context, tile), block_threads, 0, context.stream>>>(w);
}

std::size_t scratch_for(const work::kmeans_accumulate& w) {
  return pieces_at_once(w) * w.k * w.dimensions * sizeof(float);
}

void launch(const work::kmeans_accumulate& w, launch_context& context) {
  if (w.k == 0) return;
  context.check(cudaMemsetAsync(w.counts, 0, w.k * sizeof *w.counts, context.stream), "cudaMemsetAsync");
  const std::size_t cells = w.k * w.dimensions;
  if (w.n == 0) {
    if (cells != 0) context.check(cudaMemsetAsync(w.sums, 0, cells * sizeof(float), context.stream), "cudaMemsetAsync");
    return;
  }
  const auto counting = std::min(blocks_for(w.n, context), context.device.multiprocessors * 4);
  count_points<<<counting, block_threads, 0, context.stream>>>(w, context.faults);
  if (cells == 0) return;
  auto* partial = static_cast<float*>(context.scratch);
  const std::size_t pieces = pieces_of(w.n, work::kmeans_accumulate::piece);
  const std::size_t at_once = pieces_at_once(w);
  unsigned x = 1;
  while (x < w.dimensions && x < 32) x *= 2;
  dim3 block(x, 32 / x);
  constexpr std::size_t most_shared = 40 << 10;
  const std::size_t each = w.k * x * sizeof(float);  // bytes of a piece
  const bool in_shared = each <= most_shared;
  if (in_shared) block.y = static_cast<unsigned>(std::min<std::size_t>(block.y, most_shared / each));
  for (std::size_t first = 0; first < pieces; first += at_once) {
    const std::size_t some = std::min(at_once, pieces - first);
    const dim3 grid(static_cast<unsigned>(pieces_of(some, block.y)), static_cast<unsigned>(pieces_of(w.dimensions, x)));
    sum_pieces<<<grid, block, in_shared ? each * block.y : 0, context.stream>>>(w, first, some, partial, in_shared);
    add_pieces<<<blocks_for(cells, context), block_threads, 0, context.stream>>>(partial, some, cells, w.sums,
                                                                                 first == 0);
  }
}

}  // namespace hydrogen::gpu::cuda
