#pragma once

#include <hydrogen/comm/element.hpp>

#include <cstddef>
#include <cstdint>

namespace hydrogen::comm {

/// How gradients are exchanged (gradient_exchange.hpp).
struct gradient_options {
  reduction how = reduction::mean;  // or sum: over ranks; over micro-batches gradients are always added
  /// Calls of finish are one for so many micro-batches: gradients are added to those of before until then.
  std::uint32_t micro_batches = 1;
  /// Scales all gradients of a step down so that the norm of all of them together is at most this. 0: does not.
  float clip_norm = 0;
  /// Sends gradients as bfloat16, half the bytes; they are added up as float and rounded once more.
  bool bfloat16_on_wire = false;
  /// A bucket is full when it has so many bytes (of float). One tensor is never divided. 0: as the table of the gang
  /// says, and the last one is small.
  std::size_t bucket_bytes = 0;
};

}  // namespace hydrogen::comm
