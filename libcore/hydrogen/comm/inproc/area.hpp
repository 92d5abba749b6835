#pragma once
// The gang area: what ranks of one process share when the whole gang is in it. A call is: publish what is called and
// where its data is, arrive, and when all have arrived, look at the others' data directly.
//
//   arrived: | broken (1 bit) | arrivals of all ranks since the start (63 bits) |
//
// A barrier is complete when the count reaches P times its number. A rank that gives up sets the broken bit with a
// compare-and-swap while its barrier is incomplete, and nobody arrives at a broken area; so a barrier is complete for
// all ranks or for none, and no rank touches the data of one that has given up. Once all have arrived in a call they
// finish it without looking at aborts: what is left is bounded work of threads that run.
//
// Each rank's functions are called by that rank's thread; `wake` by any thread.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/base/bytes.hpp>
#include <hydrogen/comm/call.hpp>
#include <hydrogen/comm/patience.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

namespace hydrogen::comm::inproc {

class area {
 public:
  explicit area(std::uint32_t size);
  area(const area&) = delete;

  std::uint32_t size() const { return size_; }
  /// Bytes of a rank's slot: contributions up to this size are copied there, and then the call needs no `finish`.
  std::size_t slot_size() const { return slot_size_; }
  /// Where `rank` puts the small contribution of its next call. Others may still read the one of the call before.
  std::byte* slot(std::uint32_t rank);

  /// Publishes the call and waits until all ranks are in it. Errors: mismatch, timed_out, disconnected (a rank has
  /// left), aborted with the reason of `abort`; the area is broken then, and every rank gets an error. `agreed` is in
  /// the call's plan of every rank.
  expected<void> enter(std::uint32_t rank, const call_plan&, byte_view data, duration timeout, abort_word& abort);
  /// What a rank published for the call that `reader` is in.
  byte_view data_of(std::uint32_t reader, std::uint32_t rank) const;
  /// Waits until all ranks are done with each other's data. Cannot fail, see above.
  void finish(std::uint32_t rank);

  /// The rank makes no more calls.
  void leave(std::uint32_t rank);
  /// Makes waiting ranks look at their abort words.
  void wake() noexcept;

 private:
  static constexpr std::uint64_t broken_bit = std::uint64_t{1} << 63;
  struct publication {
    call_plan plan;
    byte_view data;
  };
  struct alignas(128) seat {
    // Written by the rank, read by all after they have seen `entered` or the completed barrier. Two, since a rank can
    // be one call ahead of readers.
    publication said[2];
    std::atomic<std::uint64_t> entered{0};  // calls
    std::atomic<bool> left{false};
    // The rank's own.
    std::uint64_t barriers = 0;
  };

  bool arrive(std::uint64_t target);
  bool is_complete(std::uint64_t target) const {
    return (arrived_.load(std::memory_order_acquire) & ~broken_bit) >= target;
  }
  /// Looks for a while without sleeping; true when complete.
  bool look(std::uint64_t target) const;
  expected<void> wait(std::uint32_t rank, std::uint64_t target, duration timeout, abort_word& abort);
  /// What speaks against going on: a rank that has left or that called something else.
  error trouble(std::uint32_t rank) const;
  error late(std::uint32_t rank, duration timeout) const;
  /// Breaks the area unless the barrier is complete; the error that counts, or none.
  error give_up(std::uint64_t target, error why);
  error reason() const;

  const std::uint32_t size_;
  const patience wait_;
  const std::size_t slot_size_;
  alignas(128) std::atomic<std::uint64_t> arrived_{0};
  alignas(128) std::atomic<std::uint32_t> news_{0};  // futex: completion, break, leave, abort
  std::atomic<std::uint32_t> sleepers_{0};
  alignas(128) std::unique_ptr<seat[]> seats_;
  std::unique_ptr<std::byte[], void (*)(std::byte*)> slots_;
  mutable std::mutex mutex_;
  error reason_{errc::none, {}, {}, {}};
};

}  // namespace hydrogen::comm::inproc
