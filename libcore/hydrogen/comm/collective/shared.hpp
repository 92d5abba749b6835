#pragma once
// Collectives of ranks that are all in one process, or all on one host, over their gang area. Small contributions are
// copied into slots, and one barrier is enough.
//
// Larger ones that everyone can read where they are, which is all memory in one process and gang buffers on a host:
// ranks work on each other's buffers between two barriers. A reduction is a fused push: the owner of a slice reads all
// ranks' slices once, in the fixed order, and stores each sum straight where it belongs, so that every cache line is
// touched once.
//
// Larger ones in private memory of several processes go piece by piece through the stages, with one barrier a piece,
// since piece k + 1 is copied in before the barrier after which piece k is copied out. Of a reduction each rank adds
// its slice of every piece: its own part is read where it is and need not be copied in, nor its sums copied out.
//
// Between two ranks and for much data it pays to let the kernel copy from one process to the other (process_vm_readv),
// where it lets every process of the group do that, which is tried once. The owner of a slice adds what it reads; then
// everyone reads the sums.

#include <hydrogen/comm/area.hpp>
#include <hydrogen/comm/group_engine.hpp>

#include <functional>
#include <map>

namespace hydrogen::comm {

/// What the engines of one rank of a gang share.
struct shared_ties {
  std::shared_ptr<area> whole;
  std::uint32_t rank = 0;
  /// The area of some ranks of the gang. Blocks; errors as in rendezvous::meet.
  std::function<expected<std::shared_ptr<area>>(part_of, area_wait&)> make_part;
  bool reads_memory = true;                      // of other processes, if the kernel allows it
  std::map<std::uint64_t, std::uint64_t> calls;  // of each part ever made; the first is that of making it
  std::vector<byte_view> buffers;                // of the gang, in memory of the host
  /// What speaks against waiting on, of ranks that are not in this area. Asked by who waits for long.
  std::function<error(area_wait&)> elsewhere;
};

struct byte_range {
  std::size_t begin = 0;
  std::size_t end = 0;
};

class shared_engine final : public group_engine {
 public:
  /// `abort` must outlive it. The rank has come to the area, and waits at its gate first.
  shared_engine(std::shared_ptr<shared_ties>, abort_word& abort);
  /// In a part.
  shared_engine(std::shared_ptr<shared_ties>, std::shared_ptr<area> where, const part_of&, abort_word& abort);
  ~shared_engine() override;

  std::uint32_t size() const override { return area_->size(); }
  const tuning& table() const override { return ties_->whole->table(); }
  const char* medium() const override { return area_->is_on_host() ? "host memory" : "one process"; }
  std::shared_ptr<area> meets_in() const override { return area_; }
  expected<void> barrier(const call_plan&, duration timeout) override;
  expected<void> reduce(const call_plan&, const reducing&, duration timeout) override;
  expected<void> pass(const call_plan&, std::span<const byte_view> out, std::span<const inbox> in,
                      duration timeout) override;
  expected<std::unique_ptr<group_engine>> split(const call_plan&, std::span<const std::uint32_t> members,
                                                duration timeout) override;
  expected<std::shared_ptr<std::byte>> buffer(const call_plan&, std::size_t bytes, duration timeout) override;
  void give_up(const error& why) override { area_->break_for_all(self_, why); }

 private:
  struct part_entry;
  enum class way { unknown, read, stages };

  expected<void> enter(const call_plan&, const offer&, area_wait&);
  area_wait waiting(duration timeout);
  /// Ranks that wait for each other in a ring, this one among them.
  error crossing() const;
  /// Large data as it is published.
  offer offer_of(byte_view data) const;
  offered of(std::uint32_t member) const { return area_->offer_of(self_, member); }
  /// Whether someone's large data can be reached in no other way than this.
  bool is_apart() const;
  /// Whether private memory of others is to be read, if that is possible, and not to be staged: between two, when it
  /// pays by the table. The same for all members, who know the same sizes.
  bool may_read(bool pays) const;
  expected<void> find_way(area_wait&);
  /// The last barrier of a call in which others read this rank's memory.
  expected<void> part_company(area_wait&);

  expected<void> reduce_in_place(const reducing&, area_wait&);
  expected<void> reduce_by_reading(const reducing&, area_wait&);
  expected<void> reduce_staged(const reducing&, bool copied_in, area_wait&);
  byte_range slice_of_piece(std::size_t size, std::uint32_t member) const;
  void copy_in_for_others(std::uint64_t turn, byte_view data, std::size_t offset);

  expected<void> take(std::uint32_t from, const inbox& to, error& trouble);
  void copy_in(std::uint64_t turn, byte_view data, std::size_t offset, std::size_t piece);
  expected<void> pass_staged(std::span<const byte_view> out, std::span<const inbox> in, error& trouble, area_wait&);

  std::shared_ptr<shared_ties> ties_;
  std::shared_ptr<area> area_;
  std::vector<std::uint32_t> ranks_;  // of a part: gang ranks
  std::uint64_t group_ = 0;
  std::uint32_t self_ = 0;
  abort_word& abort_;
  std::unique_ptr<abort_word::registration> on_abort_;
  way way_ = way::unknown;
  std::uint64_t turn_ = 0;  // of the stages; the same in all ranks
  std::vector<const std::byte*> sources_;
  std::vector<std::byte*> destinations_;
  std::vector<part_entry> parts_;
  byte_buffer aside_;    // sums for another rank
  byte_buffer scratch_;  // what was read of the others
  call_plan plan_;       // of the current call
};

}  // namespace hydrogen::comm
