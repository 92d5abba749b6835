// Reductions of whole tensors: sums and maxima, and clipping by the norm of all gradients.

#include <hydrogen/gpu/cuda/pairwise.cuh>
#include <hydrogen/gpu/cuda/parts.cuh>

#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>

namespace hydrogen::gpu::cuda {
namespace {

__device__ unsigned size_of_piece(std::size_t n, std::size_t first) {
  const std::size_t left = n - first;
  return static_cast<unsigned>(left < pairwise_piece ? left : pairwise_piece);
}

// ---- one number ----------------------------------------------------------------------------------------------------

__global__ void sum_pieces(const float* x, std::size_t n, float* sums) {
  const std::size_t first = std::size_t{blockIdx.x} * pairwise_piece;
  const float sum = sum_of_piece<float>(size_of_piece(n, first), [&](unsigned i) { return x[first + i]; });
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void sum_rest(float* sums, std::size_t count, float* to) {
  const float sum = sum_of_sums(sums, count);
  if (threadIdx.x == 0) *to = sum;
}

constexpr std::size_t most_maxima = 1024;

__device__ float larger(float a, float b) {
  return a != a ? a : b != b ? b : fmaxf(a, b);
}

/// The maximum of what each block has seen.
__global__ void maxima(const float* x, std::size_t n, float* to) {
  using team = row_team<block_threads>;
  float top = -INFINITY;
#pragma unroll 8
  for (std::size_t i = this_thread(); i < n; i += all_threads()) top = larger(top, x[i]);
  top = team::reduce(top, larger);
  if (threadIdx.x == 0) to[blockIdx.x] = top;
}

// ---- clipping ------------------------------------------------------------------------------------------------------

using tensor_table = part_table<work::tensor>;

__global__ void squares_of_pieces(const __grid_constant__ tensor_table table, double* sums) {
  const unsigned part = table.part_of(blockIdx.x);
  const std::size_t first = std::size_t{blockIdx.x - table.first[part]} * pairwise_piece;
  const float* x = table.parts[part].at + first;
  const double sum = sum_of_piece<double>(size_of_piece(table.parts[part].n, first), [&](unsigned i) {
    const double value = x[i];
    return value * value;
  });
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

/// A block for each tensor.
__global__ void squares_of_tensors(const __grid_constant__ tensor_table table, double* sums, double* of_tensors) {
  const unsigned first = table.first[blockIdx.x];
  const double sum = sum_of_sums(sums + first, table.first[blockIdx.x + 1] - first);
  if (threadIdx.x == 0) of_tensors[blockIdx.x] = sum;
}

__global__ void clip_factor(const double* of_tensors, std::size_t count, double most, float* norm, float* factor) {
  double sum = 0;
#pragma unroll 8
  for (std::size_t i = 0; i < count; ++i) sum = sum + of_tensors[i];
  const double root = sqrt(sum);
  *norm = static_cast<float>(root);
  const bool finite = *norm <= 3.402823466e38F;
  *factor = root > most && finite ? static_cast<float>(most / root) : 1.0F;
}

__global__ void clip_pieces(const __grid_constant__ tensor_table table, const float* factor) {
  const float a = *factor;
  if (a == 1.0F) return;
  const unsigned part = table.part_of(blockIdx.x);
  const std::size_t first = std::size_t{blockIdx.x - table.first[part]} * pairwise_piece;
  const unsigned n = size_of_piece(table.parts[part].n, first);
  float* x = table.parts[part].at + first;
  unsigned done = 0;
  if (reinterpret_cast<std::uintptr_t>(x) % 16 == 0) {
    auto* fours = reinterpret_cast<float4*>(x);
#pragma unroll 4
    for (unsigned i = threadIdx.x; i < n / 4; i += block_threads) {
      const float4 v = fours[i];
      fours[i] = make_float4(v.x * a, v.y * a, v.z * a, v.w * a);
    }
    done = n / 4 * 4;
  }
  for (unsigned i = done + threadIdx.x; i < n; i += block_threads) x[i] = x[i] * a;
}

/// Scratch: sums of pieces, sums of tensors, the factor.
std::size_t all_pieces(const work::clip_by_global_norm& w) {
  std::size_t pieces = 0;
  for (const auto& t : *w.tensors) pieces += pieces_of(t.n, pairwise_piece);
  return pieces;
}

}  // namespace

std::size_t scratch_for(const work::reduce_to_scalar& w) {
  if (w.how == work::reduce_to_scalar::kind::max) return most_maxima * sizeof(float);
  return pieces_of(w.n, pairwise_piece) * sizeof(float);
}

void launch(const work::reduce_to_scalar& w, launch_context& context) {
  auto* parts = static_cast<float*>(context.scratch);
  if (w.how == work::reduce_to_scalar::kind::max) {
    const auto blocks = static_cast<unsigned>(std::min<std::size_t>(blocks_for(w.n, context), most_maxima));
    maxima<<<blocks, block_threads, 0, context.stream>>>(w.x, w.n, parts);
    maxima<<<1, block_threads, 0, context.stream>>>(parts, blocks, w.to);
    return;
  }
  const std::size_t pieces = pieces_of(w.n, pairwise_piece);
  if (pieces != 0) {
    sum_pieces<<<static_cast<unsigned>(pieces), pairwise_lanes, 0, context.stream>>>(w.x, w.n,
                                                                                     pieces == 1 ? w.to : parts);
  }
  if (pieces != 1) sum_rest<<<1, pairwise_lanes, 0, context.stream>>>(parts, pieces, w.to);
}

std::size_t scratch_for(const work::clip_by_global_norm& w) {
  return (all_pieces(w) + w.tensors->size() + 1) * sizeof(double);
}

void launch(const work::clip_by_global_norm& w, launch_context& context) {
  auto* of_pieces = static_cast<double*>(context.scratch);
  double* of_tensors = of_pieces + all_pieces(w);
  auto* factor = reinterpret_cast<float*>(of_tensors + w.tensors->size());
  for_tables(*w.tensors, pairwise_piece, [&](const tensor_table& table, std::size_t first) {
    if (table.blocks() != 0) {
      squares_of_pieces<<<table.blocks(), pairwise_lanes, 0, context.stream>>>(table, of_pieces);
    }
    squares_of_tensors<<<table.count, pairwise_lanes, 0, context.stream>>>(table, of_pieces, of_tensors + first);
    of_pieces += table.blocks();
  });
  clip_factor<<<1, 1, 0, context.stream>>>(of_tensors, w.tensors->size(), w.most, w.norm, factor);
  for_tables(*w.tensors, pairwise_piece, [&](const tensor_table& table, std::size_t) {
    if (table.blocks() != 0) {
      clip_pieces<<<table.blocks(), block_threads, 0, context.stream>>>(table, factor);
    }
  });
}

}  // namespace hydrogen::gpu::cuda
