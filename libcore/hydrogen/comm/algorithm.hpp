#pragma once

#include <cstdint>

namespace hydrogen::comm {

/// How an all-reduce is made. All but the ring give the same bits; each is used where it is possible, else another of
/// these. `picked`: by the table (tuning.hpp), which never picks the ring.
enum class algorithm : std::uint8_t {
  picked,
  one_shot,      // everyone gets everything, and adds
  owner_reduce,  // each rank adds its share, and sends the sums
  hierarchical,  // ranks that share memory first, then one of each host
  rotating_ring  // the order of addition rotates: other bits, over links; at most two connections are busy
};

}  // namespace hydrogen::comm
