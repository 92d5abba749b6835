// Rows of a table by index: gathered, and added to. Rows that meet in one row of the table are added in ascending
// order: they are sorted by index, stably, and one team adds up each run of equal ones.

#include <hydrogen/gpu/cuda/common.cuh>

#include <cub/device/device_radix_sort.cuh>
#include <cuda_runtime.h>

#include <algorithm>

namespace hydrogen::gpu::cuda {
namespace {

unsigned blocks_down(std::size_t rows, const dim3& block) {
  return static_cast<unsigned>(std::min<std::size_t>(pieces_of(rows, block.y), 0x7fffffff));
}

// ---- gather --------------------------------------------------------------------------------------------------------

/// `columns` counts units; `faults` is told once for each wrong index.
template <class Unit>
__global__ void gather(const Unit* table, const std::uint32_t* index, Unit* to, std::size_t table_rows,
                       std::size_t columns, std::size_t n, fault_sink faults) {
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.y + threadIdx.y; i < n;
       i += std::size_t{gridDim.x} * blockDim.y) {
    const std::uint32_t from = index[i];
    const bool good = from < table_rows;
    if (!good && threadIdx.x == 0) report(faults, fault_kind::gathered, row_of_place(i) | from, table_rows);
#pragma unroll 4
    for (std::size_t c = threadIdx.x; c < columns; c += blockDim.x) {
      to[i * columns + c] = good ? table[from * columns + c] : Unit{};
    }
  }
}

template <class Unit>
void gather_units(const work::gather_rows& w, launch_context& context) {
  const std::size_t columns = w.columns * sizeof(float) / sizeof(Unit);
  const dim3 block = block_over(columns);
  gather<<<blocks_down(w.n, block), block, 0, context.stream>>>(reinterpret_cast<const Unit*>(w.table), w.index,
                                                                reinterpret_cast<Unit*>(w.to), w.table_rows, columns,
                                                                w.n, context.faults);
}

// ---- scatter -------------------------------------------------------------------------------------------------------

/// Positions are sorted as 32 bits; more rows are taken one part after another, which keeps their order.
constexpr std::size_t most_sorted = std::size_t{1} << 30;

/// A wrong index becomes `table_rows`, which is behind all others and left out. (A table has at most 2^32 rows, since
/// an index has 32 bits; one of exactly that many has no wrong index.)
__global__ void index_and_position(const std::uint32_t* index, std::size_t n, std::size_t first, std::size_t table_rows,
                                   std::uint32_t* keys, std::uint32_t* positions, fault_sink faults) {
  for (std::size_t i = this_thread(); i < n; i += all_threads()) {
    const std::uint32_t to = index[i];
    const bool good = to < table_rows;
    if (!good) report(faults, fault_kind::scattered, row_of_place(first + i) | to, table_rows);
    keys[i] = good ? to : static_cast<std::uint32_t>(table_rows);
    positions[i] = static_cast<std::uint32_t>(i);
  }
}

/// The team of the first of a run of equal keys adds up the whole run.
__global__ void add_runs(const float* x, const std::uint32_t* keys, const std::uint32_t* positions, float* table,
                         std::size_t table_rows, std::size_t columns, std::size_t n) {
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.y + threadIdx.y; i < n;
       i += std::size_t{gridDim.x} * blockDim.y) {
    const std::uint32_t key = keys[i];
    if (key >= table_rows || (i != 0 && keys[i - 1] == key)) continue;
    for (std::size_t c = threadIdx.x; c < columns; c += blockDim.x) {
      float sum = table[key * columns + c];
      for (std::size_t k = i; k < n && keys[k] == key; ++k) sum = sum + x[positions[k] * columns + c];
      table[key * columns + c] = sum;
    }
  }
}

std::size_t rounded_up(std::size_t bytes) {
  return (bytes + 255) / 256 * 256;
}

int bits_for(std::size_t table_rows) {
  int bits = 1;
  while (bits < 32 && (table_rows >> bits) != 0) ++bits;
  return bits;
}

/// Scratch: four arrays of n, then what the sort asks for.
struct sort_memory {
  std::uint32_t* keys;
  std::uint32_t* positions;
  std::uint32_t* sorted_keys;
  std::uint32_t* sorted_positions;
  void* rest;
  std::size_t rest_bytes;
};

cudaError_t sort(sort_memory& m, std::size_t n, int bits, cudaStream_t stream) {
  return cub::DeviceRadixSort::SortPairs(m.rest, m.rest_bytes, m.keys, m.sorted_keys, m.positions, m.sorted_positions,
                                         static_cast<int>(n), 0, bits, stream);
}

}  // namespace

void launch(const work::gather_rows& w, launch_context& context) {
  if (w.n == 0 || w.columns == 0) return;
  if (w.columns % 4 == 0 && all_aligned({w.table, w.to})) {
    gather_units<float4>(w, context);
  } else {
    gather_units<float>(w, context);
  }
}

std::size_t scratch_for(const work::scatter_add_rows& w) {
  const std::size_t n = std::min(w.n, most_sorted);
  if (n == 0 || w.columns == 0) return 0;
  sort_memory asked{};
  // Without memory it says how much it needs, and does nothing.
  if (sort(asked, n, bits_for(w.table_rows), nullptr) != cudaSuccess) return 0;
  return 4 * rounded_up(n * sizeof(std::uint32_t)) + asked.rest_bytes;
}

void launch(const work::scatter_add_rows& w, launch_context& context) {
  if (w.n == 0 || w.columns == 0) return;
  if (context.scratch == nullptr) return context.check(cudaErrorInvalidValue, "cub::DeviceRadixSort::SortPairs");
  const std::size_t step = rounded_up(std::min(w.n, most_sorted) * sizeof(std::uint32_t));
  auto* at = static_cast<char*>(context.scratch);
  const auto part = [&](int i) { return reinterpret_cast<std::uint32_t*>(at + i * step); };
  const int bits = bits_for(w.table_rows);
  const dim3 block = block_over(w.columns);
  for (std::size_t first = 0; first < w.n; first += most_sorted) {
    const std::size_t n = std::min(w.n - first, most_sorted);
    sort_memory m{part(0), part(1), part(2), part(3), nullptr, 0};
    context.check(sort(m, n, bits, context.stream), "cub::DeviceRadixSort::SortPairs");
    m.rest = at + 4 * step;
    index_and_position<<<blocks_for(n, context), block_threads, 0, context.stream>>>(
        w.index + first, n, first, w.table_rows, m.keys, m.positions, context.faults);
    context.check(sort(m, n, bits, context.stream), "cub::DeviceRadixSort::SortPairs");
    add_runs<<<blocks_down(n, block), block, 0, context.stream>>>(
        w.x + first * w.columns, m.sorted_keys, m.sorted_positions, w.table, w.table_rows, w.columns, n);
  }
}

}  // namespace hydrogen::gpu::cuda
