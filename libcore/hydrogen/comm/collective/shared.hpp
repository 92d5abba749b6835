#pragma once
// Collectives of a gang whose ranks are all in this process, over its gang area. Small contributions are copied into
// slots, and one barrier is enough; otherwise ranks work on each other's buffers between two barriers. The all-reduce
// is a fused push: the owner of a slice reads all ranks' slices once, in the fixed order, and stores each sum straight
// into all buffers, so that every cache line is touched once.

#include <hydrogen/comm/group_engine.hpp>
#include <hydrogen/comm/inproc/area.hpp>

namespace hydrogen::comm {

class shared_engine final : public group_engine {
 public:
  /// `abort` must outlive it. Call `join` first.
  shared_engine(std::shared_ptr<inproc::area>, std::uint32_t rank, abort_word& abort);
  ~shared_engine() override;

  expected<void> join(const call_plan&, duration timeout);
  expected<void> barrier(const call_plan&, duration timeout) override;
  expected<void> all_reduce(const call_plan&, std::byte* data, duration timeout) override;
  expected<std::vector<byte_buffer>> all_gather(const call_plan&, byte_view mine, duration timeout) override;
  expected<void> broadcast(const call_plan&, byte_buffer& bytes, duration timeout) override;

 private:
  /// Publishes `data` in place, or from the rank's slot when it fits there.
  expected<void> enter(const call_plan&, byte_view data, duration timeout);

  std::shared_ptr<inproc::area> area_;
  std::uint32_t rank_;
  abort_word& abort_;
  std::unique_ptr<abort_word::registration> on_abort_;
  std::vector<const std::byte*> sources_;
  std::vector<std::byte*> destinations_;
};

}  // namespace hydrogen::comm
