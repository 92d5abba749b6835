#pragma once
// What a group stands on: one implementation over the gang area of one process, one over links. Arguments are checked
// by `group`; plans carry numbers and sizes. Used by the rank's thread only.

#include <hydrogen/base/bytes.hpp>
#include <hydrogen/comm/area.hpp>
#include <hydrogen/comm/call.hpp>

#include <vector>

namespace hydrogen::comm {

class group_engine {
 public:
  virtual ~group_engine() = default;
  /// Where ranks meet, if they have one area.
  virtual std::shared_ptr<area> meets_in() const { return nullptr; }
  virtual expected<void> barrier(const call_plan&, duration timeout) = 0;
  /// `data`: plan.count elements of plan.kind, replaced by the result.
  virtual expected<void> all_reduce(const call_plan&, std::byte* data, duration timeout) = 0;
  virtual expected<std::vector<byte_buffer>> all_gather(const call_plan&, byte_view mine, duration timeout) = 0;
  /// The bytes of plan.root replace those of the others.
  virtual expected<void> broadcast(const call_plan&, byte_buffer& bytes, duration timeout) = 0;
};

}  // namespace hydrogen::comm
