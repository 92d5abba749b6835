#pragma once
// Collectives of a gang whose ranks are all in one process, or all on one host, over its gang area. Small contributions
// are copied into slots, and one barrier is enough.
//
// Larger ones, in one process: ranks work on each other's buffers between two barriers. The all-reduce is a fused push:
// the owner of a slice reads all ranks' slices once, in the fixed order, and stores each sum straight into all buffers,
// so that every cache line is touched once.
//
// Larger ones, on a host: piece by piece through the stages, with one barrier a piece, since piece k + 1 is copied in
// before the barrier after which piece k is copied out. Of an all-reduce each rank adds its slice of every piece, in
// place in the stage of rank 0.

#include <hydrogen/comm/area.hpp>
#include <hydrogen/comm/group_engine.hpp>

namespace hydrogen::comm {

class shared_engine final : public group_engine {
 public:
  /// `abort` must outlive it. The rank has come to the area, and waits at its gate first.
  shared_engine(std::shared_ptr<area>, std::uint32_t rank, abort_word& abort);
  ~shared_engine() override;

  std::shared_ptr<area> meets_in() const override { return area_; }
  expected<void> barrier(const call_plan&, duration timeout) override;
  expected<void> all_reduce(const call_plan&, std::byte* data, duration timeout) override;
  expected<std::vector<byte_buffer>> all_gather(const call_plan&, byte_view mine, duration timeout) override;
  expected<void> broadcast(const call_plan&, byte_buffer& bytes, duration timeout) override;

 private:
  /// Publishes `data` in place, or from the rank's slot when it fits there.
  expected<void> enter(const call_plan&, byte_view data, call_deadline&);
  /// Whether so much data of one rank goes through its stages.
  bool is_staged(std::size_t bytes) const { return area_->stage_size() != 0 && bytes > area_->slot_size(); }
  /// Copies the piece of `data` at `offset` into this rank's stage of the turn.
  void copy_in(std::uint64_t turn, byte_view data, std::size_t offset);
  expected<void> reduce_in_place(const call_plan&);
  expected<void> reduce_staged(const call_plan&, std::byte* data, std::size_t bytes, call_deadline&);
  /// After `enter`: what ranks have in their stages, piece by piece; `into[r]`, already of its size, gets that of rank
  /// r unless it is null.
  expected<void> pass_staged(byte_view mine, std::span<byte_buffer* const> into, call_deadline&);

  std::shared_ptr<area> area_;
  std::uint32_t rank_;
  abort_word& abort_;
  std::unique_ptr<abort_word::registration> on_abort_;
  std::uint64_t turn_ = 0;  // of the stages; the same in all ranks
  std::vector<const std::byte*> sources_;
  std::vector<std::byte*> destinations_;
};

}  // namespace hydrogen::comm
