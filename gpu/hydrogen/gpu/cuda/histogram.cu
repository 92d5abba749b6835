// Histograms for trees. Rounded gradients are integers, whose sums do not depend on order, so atomics may add them. A
// block collects some features in shared memory, 64 bits as two halves, which the hardware adds faster than one.

#include <hydrogen/gpu/cuda/common.cuh>

#include <cuda_runtime.h>

#include <algorithm>

namespace hydrogen::gpu::cuda {
namespace {

constexpr unsigned most_bins = 256;  // that a byte can name
constexpr std::size_t most_shared = 40 << 10;

/// Of one feature and bin, in shared memory.
struct cell {
  std::uint32_t gradient_low, gradient_high, hessian_low, hessian_high, count;
};

/// Every wrap of the low half is seen by the thread that makes it.
__device__ void add(std::uint32_t* low, std::uint32_t* high, long long value) {
  const auto bits = static_cast<unsigned long long>(value);
  const auto of_low = static_cast<std::uint32_t>(bits);
  const std::uint32_t before = atomicAdd(low, of_low);
  const std::uint32_t carry = before + of_low < before ? 1 : 0;
  const std::uint32_t of_high = static_cast<std::uint32_t>(bits >> 32) + carry;
  if (of_high != 0) atomicAdd(high, of_high);
}

__device__ void add_to(std::int64_t* sum, std::uint32_t low, std::uint32_t high) {
  const unsigned long long value = (static_cast<unsigned long long>(high) << 32) | low;
  if (value != 0) atomicAdd(reinterpret_cast<unsigned long long*>(sum), value);
}

/// Features first_feature .. + features of a block; y of the grid goes over features, x over rows.
__global__ void __launch_bounds__(block_threads)
    collect(work::histogram w, unsigned features_at_once, unsigned bins_here, fault_sink faults) {
  extern __shared__ cell cells[];
  const std::size_t first_feature = std::size_t{blockIdx.y} * features_at_once;
  const std::size_t left = w.features - first_feature;
  const auto features = static_cast<unsigned>(left < features_at_once ? left : features_at_once);
  for (unsigned i = threadIdx.x; i < features * bins_here; i += block_threads) cells[i] = {0, 0, 0, 0, 0};
  __syncthreads();
  const std::size_t listed = w.rows_used == nullptr ? w.rows : w.used;
  // Threads lie along the features of a row, as its bins do. Row and feature are carried along, to divide only once.
  const std::size_t row_step = all_threads() / features;
  const auto feature_step = static_cast<unsigned>(all_threads() % features);
  std::size_t place = this_thread() / features;
  auto feature = static_cast<unsigned>(this_thread() % features);
  const auto next = [&] {
    place += row_step;
    feature += feature_step;
    if (feature >= features) {
      feature -= features;
      ++place;
    }
  };
  for (; place < listed; next()) {
    const std::size_t row = w.rows_used == nullptr ? place : w.rows_used[place];
    if (row >= w.rows) {
      if (feature == 0) report(faults, fault_kind::listed_row, row_of_place(place) | row, w.rows);
      continue;
    }
    const unsigned bin = w.bins[row * w.features + first_feature + feature];
    if (bin >= w.bin_count) {
      report(faults, fault_kind::bin, row_of_place(row) | (first_feature + feature) << 8 | bin, w.bin_count);
      continue;
    }
    cell& c = cells[feature * bins_here + bin];
    add(&c.gradient_low, &c.gradient_high, __float2ll_rn(w.scale * w.gradient[row]));
    add(&c.hessian_low, &c.hessian_high, __float2ll_rn(w.scale * w.hessian[row]));
    atomicAdd(&c.count, 1U);
  }
  __syncthreads();
  for (unsigned i = threadIdx.x; i < features * bins_here; i += block_threads) {
    const unsigned feature = i / bins_here, bin = i % bins_here;
    std::int64_t* sums = w.sums + ((first_feature + feature) * w.bin_count + bin) * 3;
    add_to(&sums[0], cells[i].gradient_low, cells[i].gradient_high);
    add_to(&sums[1], cells[i].hessian_low, cells[i].hessian_high);
    add_to(&sums[2], cells[i].count, 0);
  }
}

}  // namespace

void launch(const work::histogram& w, launch_context& context) {
  const std::size_t cells = w.features * w.bin_count;
  if (cells != 0) {
    context.check(cudaMemsetAsync(w.sums, 0, cells * 3 * sizeof *w.sums, context.stream), "cudaMemsetAsync");
  }
  const std::size_t listed = w.rows_used == nullptr ? w.rows : w.used;
  if (w.features == 0 || listed == 0) return;
  const auto bins_here = static_cast<unsigned>(std::clamp<std::size_t>(w.bin_count, 1, most_bins));
  const std::size_t each = bins_here * sizeof(cell);
  // As few rounds over the rows as possible, with the same number of features in each.
  const std::size_t rounds = pieces_of(w.features, most_shared / each);
  const auto at_once = static_cast<unsigned>(pieces_of(w.features, rounds));
  const auto along = static_cast<unsigned>(pieces_of(w.features, at_once));
  // A block counts its rows in 32 bits, and its cells are added to the sums once: some blocks with many rows each.
  const std::size_t most_blocks = std::max<std::size_t>(1, std::size_t{context.device.multiprocessors} * 8 / along);
  const std::size_t least_blocks = pieces_of(listed * at_once, std::size_t{1} << 31);
  const std::size_t wanted = std::min(pieces_of(listed * at_once, block_threads * 16), most_blocks);
  const dim3 grid(static_cast<unsigned>(std::max(wanted, least_blocks)), along);
  collect<<<grid, block_threads, at_once * each, context.stream>>>(w, at_once, bins_here, context.faults);
}

}  // namespace hydrogen::gpu::cuda
