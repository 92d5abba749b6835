#pragma once
// Many tensors in one launch: their addresses travel as a parameter of the kernel, as many as fit, and each block takes
// one piece of one of them.

#include <hydrogen/gpu/cuda/common.cuh>

#include <vector>

namespace hydrogen::gpu::cuda {

template <class Part>
struct part_table {
  static constexpr unsigned most = (4096 - 256) / (sizeof(Part) + 4);  // parameters end at 4 KiB

  Part parts[most];
  std::uint32_t first[most + 1];  // blocks of the parts before; behind the last: of all
  std::uint32_t count;

  std::uint32_t blocks() const { return first[count]; }
  /// The part that a block works on: the last that begins at or before it. Those without elements have no block.
  __device__ unsigned part_of(unsigned block) const {
    unsigned low = 0, high = count;
    while (high - low > 1) {
      const unsigned middle = (low + high) / 2;
      if (first[middle] <= block) {
        low = middle;
      } else {
        high = middle;
      }
    }
    return low;
  }
};

/// Calls f(table, number of the first part in it) until all parts have been given.
template <class Part, class F>
void for_tables(const std::vector<Part>& parts, std::size_t piece, F f) {
  constexpr std::size_t most_blocks = 0x7fffffff;
  std::size_t next = 0;
  while (next < parts.size()) {
    part_table<Part> table{};
    const std::size_t begin = next;
    std::size_t blocks = 0;
    while (next < parts.size() && table.count < part_table<Part>::most) {
      const std::size_t more = pieces_of(parts[next].n, piece);
      if (blocks + more > most_blocks && table.count != 0) break;
      table.parts[table.count] = parts[next];
      table.first[table.count] = static_cast<std::uint32_t>(blocks);
      ++table.count;
      blocks += more;
      ++next;
    }
    table.first[table.count] = static_cast<std::uint32_t>(blocks);
    f(table, begin);
  }
}

}  // namespace hydrogen::gpu::cuda
