// The end of a classifier: softmax with cross-entropy, forward and backward in one launch, and argmax.

#include <hydrogen/gpu/cuda/common.cuh>

#include <cuda_runtime.h>

#include <cmath>

namespace hydrogen::gpu::cuda {
namespace {

/// With `Cached` a row stays in shared memory, so that one that is longer than the caches is still read once.
template <unsigned Lanes, bool Cached>
__global__ void __launch_bounds__(row_team<Lanes>::threads)
    softmax_rows(work::softmax_cross_entropy w, fault_sink faults) {
  using team = row_team<Lanes>;
  extern __shared__ float cache[];
  const std::size_t step = std::size_t{gridDim.x} * team::in_block;
  for (std::size_t first = std::size_t{blockIdx.x} * team::in_block; first < w.rows; first += step) {
    const std::size_t row = first + team::index();
    const bool alive = row < w.rows;
    const std::size_t columns = alive ? w.columns : 0;
    const float* logits = w.logits + row * w.columns;
    const auto at = [&](std::size_t c) { return Cached ? cache[c] : logits[c]; };  // a thread asks for its own columns
    float top = -INFINITY;
#pragma unroll 4
    for (std::size_t c = team::lane(); c < columns; c += Lanes) {
      const float v = logits[c];
      if constexpr (Cached) cache[c] = v;
      top = fmaxf(top, v);
    }
    top = team::reduce(top, [](float a, float b) { return fmaxf(a, b); });
    double sum = 0;
#pragma unroll 4
    for (std::size_t c = team::lane(); c < columns; c += Lanes) sum += expf(at(c) - top);
    sum = team::sum(sum);
    if (!alive) continue;  // in every round of the loop all threads come to the reductions: rows end in the last one
    const std::uint32_t label = w.labels[row];
    if (label >= w.columns && team::lane() == 0) {
      report(faults, fault_kind::label, row_of_place(row) | label, w.columns);
      if (w.loss != nullptr) w.loss[row] = NAN;
    }
    const float part = static_cast<float>(1 / sum);
    const float log_sum = logf(static_cast<float>(sum));
    float* gradient = w.gradient == nullptr ? nullptr : w.gradient + row * w.columns;
    for (std::size_t c = team::lane(); c < columns; c += Lanes) {
      const float below_top = at(c) - top;
      if (c == label && w.loss != nullptr) w.loss[row] = log_sum - below_top;
      if (gradient != nullptr) gradient[c] = w.scale * (expf(below_top) * part - (c == label ? 1.0F : 0.0F));
    }
  }
}

constexpr std::uint32_t none = 0xffffffffU;

struct best {
  float value;
  std::uint32_t column;  // none: no number yet
};

__device__ best better(best a, best b) {
  if (b.column == none) return a;
  if (a.column == none) return b;
  const bool second = b.value > a.value || (b.value == a.value && b.column < a.column);
  return second ? b : a;
}

template <unsigned Lanes>
__global__ void __launch_bounds__(row_team<Lanes>::threads) argmax_rows(work::argmax w) {
  using team = row_team<Lanes>;
  const std::size_t step = std::size_t{gridDim.x} * team::in_block;
  for (std::size_t first = std::size_t{blockIdx.x} * team::in_block; first < w.rows; first += step) {
    const std::size_t row = first + team::index();
    const std::size_t columns = row < w.rows ? w.columns : 0;
    const float* x = w.x + row * w.columns;
    best mine{0, none};
#pragma unroll 4
    for (std::size_t c = team::lane(); c < columns; c += Lanes) {
      const float v = x[c];
      if (v == v && (mine.column == none || v > mine.value)) mine = {v, static_cast<std::uint32_t>(c)};
    }
    // The two as one number, since that is what threads exchange.
    const auto packed = (std::uint64_t{__float_as_uint(mine.value)} << 32) | mine.column;
    const auto all = team::reduce(packed, [](std::uint64_t a, std::uint64_t b) {
      const auto unpacked = [](std::uint64_t v) {
        return best{__uint_as_float(static_cast<std::uint32_t>(v >> 32)), static_cast<std::uint32_t>(v)};
      };
      const best both = better(unpacked(a), unpacked(b));
      return (std::uint64_t{__float_as_uint(both.value)} << 32) | both.column;
    });
    const auto column = static_cast<std::uint32_t>(all);
    if (row < w.rows && team::lane() == 0) w.index[row] = column == none ? 0 : column;
  }
}

}  // namespace

void launch(const work::softmax_cross_entropy& w, launch_context& context) {
  if (w.rows == 0 || w.columns == 0) return;
  with_team(w.columns, [&]<unsigned Lanes>() {
    using team = row_team<Lanes>;
    const unsigned blocks = blocks_for(w.rows, context, team::in_block);
    if constexpr (Lanes == 1024) {
      const std::size_t bytes = w.columns * sizeof(float);
      if (bytes + 1024 <= context.device.most_shared) {  // the reductions have some, too
        const auto kernel = softmax_rows<Lanes, true>;
        context.check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           static_cast<int>(context.device.most_shared - 1024)),
                      "cudaFuncSetAttribute");
        kernel<<<blocks, team::threads, bytes, context.stream>>>(w, context.faults);
        return;
      }
    }
    softmax_rows<Lanes, false><<<blocks, team::threads, 0, context.stream>>>(w, context.faults);
  });
}

void launch(const work::argmax& w, launch_context& context) {
  if (w.rows == 0 || w.columns == 0) return;
  with_team(w.columns, [&]<unsigned Lanes>() {
    using team = row_team<Lanes>;
    argmax_rows<Lanes><<<blocks_for(w.rows, context, team::in_block), team::threads, 0, context.stream>>>(w);
  });
}

}  // namespace hydrogen::gpu::cuda
