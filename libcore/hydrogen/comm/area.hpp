#pragma once
// The gang area: memory in which all ranks of a gang meet, when the whole gang is in one process or on one host. A call
// is: publish what is called and how much, arrive, and when all have arrived, look at the others' data directly.
//
//     | header | seat of each rank | two slots of each rank | three stages of each rank (on a host) |
//
//     arrived: | broken (1 bit) | rank that broke it (13 bits) | arrivals of all ranks since the start (50 bits) |
//
// In one process ranks read each other's buffers where they are. On a host the area lies in a memory file that every
// process has mapped; data that does not fit a slot goes through the stages, piece by piece, so that no rank ever
// touches memory that belongs to another process.
//
// Before the first call ranks come, one by one and without waiting, and wait at the gate, which somebody who knows that
// all have come opens for all of them: so each sleeps once, however the gang is spread.
//
// A barrier is complete when the count reaches P times its number. A rank that gives up writes its reason into its seat
// and sets the broken bit with a compare-and-swap while its barrier is incomplete, and nobody arrives at a broken area;
// so a barrier is complete for all ranks or for none. There is no lock: a process may be killed between any two
// instructions, and whoever watches it (`lost`) wakes the others, who then see what it had done and that it is gone.
//
// Each rank's functions are called by that rank's thread; `wake` and `lost` by any thread.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/base/bytes.hpp>
#include <hydrogen/comm/call.hpp>
#include <hydrogen/comm/patience.hpp>
#include <hydrogen/comm/start_gate.hpp>

#include <atomic>
#include <memory>

namespace hydrogen::comm {

class area {
 public:
  enum class reach : std::uint32_t { process, host };

  /// In this process.
  explicit area(std::uint32_t ranks);
  /// Over memory of a host, aligned to a page; `keep` holds the mapping. `create` once, by whoever owns the memory,
  /// before anybody attaches.
  static std::size_t bytes_on_host(std::uint32_t ranks);
  static std::shared_ptr<area> create(std::byte* memory, std::uint32_t ranks, std::shared_ptr<void> keep);
  /// errc::mismatch when something else than an area for so many ranks lies there.
  static expected<std::shared_ptr<area>> attach(std::byte* memory, std::uint32_t ranks, std::shared_ptr<void> keep);
  area(const area&) = delete;

  std::uint32_t size() const { return ranks_; }
  /// Bytes of a rank's slot: contributions up to this size are copied there.
  std::size_t slot_size() const { return slot_size_; }
  /// Bytes of a stage; 0: none, ranks read each other's buffers.
  std::size_t stage_size() const { return stage_size_; }
  /// Where `rank` puts the small contribution of its next call. Others may still read the one of the call before.
  std::byte* slot(std::uint32_t rank);
  /// Where the piece `turn` of a rank lies. A turn has at least one barrier after its piece was written, and two before
  /// the memory is used again: three in all.
  std::byte* stage(std::uint32_t rank, std::uint64_t turn);

  /// Before all else: the rank is here, and publishes what it was told about the gang. Does not wait; true for the one
  /// that makes it complete. Errors: that of whoever has broken the area.
  expected<bool> come(std::uint32_t rank, const call_plan&);
  /// Then: waits at the gate. Errors: timed_out (naming those that have not come, or `never_opened`), mismatch,
  /// disconnected, aborted.
  expected<void> await_start(std::uint32_t rank, const start_limits&, abort_word& abort);
  /// Opens the gate, for the ranks of all processes; they pass when all have come. Again: does nothing.
  void open() noexcept;

  /// Publishes the call and waits until all ranks are in it. Data up to the slot size must be in the slot. Errors:
  /// mismatch, timed_out, disconnected (a rank has left, or its process died), aborted with the reason of `abort`; the
  /// area is broken then, and every rank gets an error.
  expected<void> enter(std::uint32_t rank, const call_plan&, byte_view data, call_deadline&, abort_word& abort);
  /// One more barrier inside the call; the same errors.
  expected<void> step(std::uint32_t rank, call_deadline& deadline, abort_word& abort);
  /// What a rank published for the call that `reader` is in. On a host only the size counts above the slot size.
  byte_view data_of(std::uint32_t reader, std::uint32_t rank) const;
  /// In one process: waits until all ranks are done with each other's buffers. Cannot fail: once all have arrived in a
  /// call they finish it without looking at aborts; what is left is bounded work of threads that run.
  void finish(std::uint32_t rank);

  /// The rank makes no more calls.
  void leave(std::uint32_t rank);
  /// The process of this rank is dead.
  void lost(std::uint32_t rank);
  /// Whether every rank has come and left, or is dead, so that nobody will touch this memory again.
  bool is_deserted() const;
  /// Makes waiting ranks look at their abort words.
  void wake() noexcept;

 private:
  struct header;
  struct seat;
  struct publication;
  static constexpr std::uint64_t broken_bit = std::uint64_t{1} << 63;
  static constexpr int rank_shift = 50;
  static constexpr std::uint64_t count_mask = (std::uint64_t{1} << rank_shift) - 1;

  area(std::byte* memory, std::uint32_t ranks, reach, std::shared_ptr<void> keep);
  void construct();
  enum class arrival { broken, early, last };
  arrival arrive(std::uint64_t target);
  expected<void> all_alike(std::uint32_t rank, std::uint64_t call) const;
  bool is_complete(std::uint64_t target) const;
  /// Looks for a while without sleeping; true when complete.
  bool look(std::uint64_t target) const;
  expected<void> wait(std::uint32_t rank, std::uint64_t target, call_deadline&, abort_word&);
  /// What speaks against going on: a rank that has left, is dead, or called something else.
  error trouble(std::uint32_t rank) const;
  error late(std::uint32_t rank, duration timeout) const;
  /// Breaks the area unless the barrier is complete; the error that counts, or none.
  error give_up(std::uint32_t rank, std::uint64_t target, const error& why);
  error reason() const;

  const std::uint32_t ranks_;
  const patience wait_;
  const std::size_t slot_size_;
  const std::size_t stage_size_;
  const futex_reach futex_;
  std::shared_ptr<void> keep_;
  header* header_;
  seat* seats_;
  std::byte* slots_;
  std::byte* stages_;
};

}  // namespace hydrogen::comm
