#pragma once
// The collectives of one gang attempt, for one rank. Made by `rendezvous`; used by that rank's slot thread only.
//
// Every call is also a barrier of its call: it returns when all ranks have entered the same call, and its data is
// complete. Ranks that call different things, or with different sizes, all fail with errc::mismatch, both call sites
// named. A rank that does not come is named at the deadline (errc::timed_out), one that has returned or died at once
// (errc::disconnected); when the attempt's abort word is set every wait returns its reason. After any of these the
// group is broken: the contents of the buffers are unspecified, and further calls return the same error. Results have
// the same bits for every placement of the ranks (see element.hpp). Wrong arguments are errc::bad_input and break
// nothing.

#include <hydrogen/base/bytes.hpp>
#include <hydrogen/comm/call.hpp>
#include <hydrogen/comm/group_engine.hpp>

#include <functional>
#include <memory>
#include <source_location>
#include <span>
#include <vector>

namespace hydrogen::comm {

class group {
 public:
  /// For `rendezvous`. Without an engine it is a group of one.
  group(std::uint32_t rank, std::uint32_t size, std::unique_ptr<group_engine> engine)
      : rank_(rank),
        size_(size),
        engine_(std::move(engine)),
        area_(engine_ ? engine_->meets_in() : nullptr),
        gate_(area_ ? nullptr : std::make_shared<start_gate>()) {}
  /// Leaves: ranks that still wait for this one fail at once, and name it.
  ~group() = default;
  group(const group&) = delete;

  std::uint32_t rank() const { return rank_; }
  std::uint32_t size() const { return size_; }

  /// Before any collective, once: waits until the gate is opened. Errors as in area::await_start and start_gate::wait;
  /// the group is broken then.
  expected<void> await_start(const start_limits&, abort_word&);
  /// Opens the gate of this rank, and of all that meet in one area with it, in whatever process. To be called by any
  /// thread, when all ranks of the gang have met; may outlive the group.
  std::function<void()> opener() const;

  expected<void> barrier(call_options = std::source_location::current());

  /// Element-wise over all ranks, in place; all pass the same number of elements. `mean` is for float and double.
  expected<void> all_reduce(std::span<float>, reduction, call_options = std::source_location::current());
  expected<void> all_reduce(std::span<double>, reduction, call_options = std::source_location::current());
  expected<void> all_reduce(std::span<std::int64_t>, reduction, call_options = std::source_location::current());

  /// The bytes of every rank, by rank; any size per rank.
  expected<std::vector<byte_buffer>> all_gather(byte_view mine, call_options = std::source_location::current());

  /// The bytes of `root` replace those of the others, whatever their size was.
  expected<void> broadcast(std::uint32_t root, byte_buffer& bytes, call_options = std::source_location::current());

 private:
  expected<void> reduce(element, std::byte* data, std::size_t count, reduction, const call_options&);
  /// Remembers the first error.
  template <class T>
  expected<T> kept(expected<T> result);

  std::uint32_t rank_;
  std::uint32_t size_;
  std::unique_ptr<group_engine> engine_;
  std::shared_ptr<area> area_;
  std::shared_ptr<start_gate> gate_;  // without an area
  error broken_{errc::none, {}, {}, {}};
};

}  // namespace hydrogen::comm
