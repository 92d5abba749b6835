#pragma once
// What a kernel found wrong with its data, as it leaves it in device memory, and what the host says of it. Names no
// CUDA type; shared with device code.

#include <hydrogen/base/error.hpp>

#include <cstdint>
#include <string>

namespace hydrogen::gpu::cuda {

enum class fault_kind : std::uint32_t { none, label, gathered, scattered, centre, listed_row, bin };

/// All zero: nothing was found. The first kernel that finds something owns the record and keeps its lowest place.
///
///   place of a bin:       row (32 bits) | feature (24 bits) | bin (8 bits)
///   place of all others:  row (32 bits) | what was there (32 bits)
///
/// A row beyond 32 bits is kept as the largest one.
struct fault_record {
  std::uint64_t replays;  // of the recording, begun so far: no fault, and not cleared with one
  std::uint64_t owner;    // position of the item in its stream, or number from 1 in its recording
  std::uint64_t lowest;   // ~place, so that zero is above every place
  std::uint64_t limit;    // what the value had to be below
  std::uint64_t replay;   // of the recording, from 1
  fault_kind kind;
};

constexpr std::uint64_t row_of_place(std::uint64_t row) {
  return (row < 0xffffffffU ? row : 0xffffffffU) << 32;
}

/// "kernel 'gather_rows': row 3 has the index 12, the table has 10 rows".
error describe(const fault_record&);

}  // namespace hydrogen::gpu::cuda
