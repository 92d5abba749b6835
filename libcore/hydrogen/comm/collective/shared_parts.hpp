#pragma once
// What the parts of `shared_engine` share; nobody else includes it.

#include <hydrogen/comm/collective/shared.hpp>

namespace hydrogen::comm {

/// Where the bytes for one member lie: an address, the offset of a gang buffer, or, in a slot or stage, their distance
/// from the first entry. Two in a row never straddle pieces of stages.
struct alignas(32) shared_engine::part_entry {
  std::uint64_t size = 0;
  std::uint64_t at = 0;
  std::uint64_t is_buffer = 0;
};

}  // namespace hydrogen::comm
