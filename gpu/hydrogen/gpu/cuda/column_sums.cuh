#pragma once
// Sums over rows for each column in the order of `sum_rows`: rows ascending within pieces of 128, then pieces
// ascending.

#include <hydrogen/gpu/cuda/common.cuh>

#include <algorithm>

namespace hydrogen::gpu::cuda {

template <unsigned Outputs>
struct column_targets {
  float* to[Outputs];
};

/// value.add(row, column, sums) adds what the element has for each output. Partial sums lie as pieces x outputs x
/// columns; a single piece goes to the targets at once.
template <unsigned Outputs, class Value>
__global__ void sum_row_pieces(Value value, std::size_t rows, std::size_t columns, std::size_t pieces, float* partial,
                               column_targets<Outputs> targets) {
  constexpr std::size_t piece_rows = work::sum_rows::piece;
  const std::size_t first_piece = std::size_t{blockIdx.x} * blockDim.y + threadIdx.y;
  const std::size_t first_column = std::size_t{blockIdx.y} * blockDim.x + threadIdx.x;
  for (std::size_t p = first_piece; p < pieces; p += std::size_t{gridDim.x} * blockDim.y) {
    const std::size_t end = p * piece_rows + piece_rows < rows ? p * piece_rows + piece_rows : rows;
    for (std::size_t c = first_column; c < columns; c += std::size_t{gridDim.y} * blockDim.x) {
      float sums[Outputs] = {};
#pragma unroll 8
      for (std::size_t r = p * piece_rows; r < end; ++r) value.add(r, c, sums);
#pragma unroll
      for (unsigned o = 0; o < Outputs; ++o) {
        float* to = pieces == 1 ? targets.to[o] : partial + (p * Outputs + o) * columns;
        to[c] = sums[o];
      }
    }
  }
}

template <unsigned Outputs>
__global__ void sum_partial_columns(const float* partial, std::size_t columns, std::size_t pieces,
                                    column_targets<Outputs> targets) {
  for (std::size_t i = this_thread(); i < columns * Outputs; i += all_threads()) {
    float sum = 0;
#pragma unroll 16
    for (std::size_t p = 0; p < pieces; ++p) sum = sum + partial[p * Outputs * columns + i];
    for (unsigned o = 0; o < Outputs; ++o) {
      if (i / columns == o) targets.to[o][i % columns] = sum;
    }
  }
}

template <unsigned Outputs>
std::size_t column_sum_scratch(std::size_t rows, std::size_t columns) {
  const std::size_t pieces = pieces_of(rows, work::sum_rows::piece);
  return pieces <= 1 ? 0 : pieces * Outputs * columns * sizeof(float);
}

template <unsigned Outputs, class Value>
void sum_columns(launch_context& context, Value value, std::size_t rows, std::size_t columns,
                 column_targets<Outputs> targets) {
  if (columns == 0) return;
  auto* partial = static_cast<float*>(context.scratch);
  const std::size_t pieces = pieces_of(rows, work::sum_rows::piece);
  if (pieces != 0) {
    const dim3 block = block_over(columns);
    const auto along = static_cast<unsigned>(std::min<std::size_t>(pieces_of(columns, block.x), 65535));
    const auto down = static_cast<unsigned>(std::min<std::size_t>(pieces_of(pieces, block.y), 0x7fffffff));
    sum_row_pieces<Outputs>
        <<<dim3(down, along), block, 0, context.stream>>>(value, rows, columns, pieces, partial, targets);
  }
  if (pieces == 1) return;
  constexpr unsigned threads = 64;  // few columns on many multiprocessors
  sum_partial_columns<Outputs><<<blocks_for(columns * Outputs, context, threads), threads, 0, context.stream>>>(
      partial, columns, pieces, targets);
}

}  // namespace hydrogen::gpu::cuda
