#pragma once
// The collectives of one gang attempt, for one rank, and of some of its ranks. Made by `rendezvous`; used by that
// rank's slot thread only.
//
// Every call is also a barrier of its call: it returns when all ranks of the group have entered the same call, and its
// data is complete. Ranks that call different things, in another order, in other groups, or with different sizes, all
// fail with errc::mismatch, both call sites named. A rank that does not come is named at the deadline
// (errc::timed_out), one that has returned or died at once (errc::disconnected); when the attempt's abort word is set
// every wait returns its reason. After any of these the gang is broken: the contents of the buffers are unspecified,
// and further calls of all its groups return the same error. Results have the same bits for every placement of the
// ranks (see element.hpp), but of an all-reduce that asks for the ring. Wrong arguments are errc::bad_input and break
// nothing.
//
// Calls of an element type: float, double, half, bfloat16, int32, int64 (element.hpp); all ranks pass the same number
// of elements. Calls of bytes: each rank any size, at most 4 GiB. Where a call divides a buffer among the ranks, the
// part of a rank is `share_of(count, rank, size)`.
//
// Each call has a twin `..._async`, which returns at once; calls are made in the order in which they were begun, and a
// call that waits lets those before it end. The buffers and places for results belong to the call until it is done.

#include <hydrogen/base/bytes.hpp>
#include <hydrogen/comm/call.hpp>
#include <hydrogen/comm/gang_buffer.hpp>
#include <hydrogen/comm/group_engine.hpp>
#include <hydrogen/comm/pending.hpp>

#include <functional>
#include <memory>
#include <source_location>
#include <span>
#include <type_traits>
#include <vector>

namespace hydrogen::comm {

class group {
 public:
  using here = std::source_location;

  /// For `rendezvous`. Without an engine it is a group of one.
  group(std::uint32_t rank, std::uint32_t size, std::unique_ptr<group_engine> engine);
  /// Leaves: ranks that still wait for this one fail at once, and name it.
  ~group();
  group(const group&) = delete;

  /// Within this group.
  std::uint32_t rank() const { return rank_; }
  std::uint32_t size() const { return size_; }

  /// In what the ranks meet: "one process", "host memory", "TCP", "host memory+TCP".
  const char* medium() const { return engine_ ? engine_->medium() : "one process"; }
  /// By which algorithms are picked: the same for all ranks of the gang.
  tuning table() const { return engine_ ? engine_->table() : tuning(); }

  /// Before any collective, once: waits until the gate is opened. Errors as in area::await_start and start_gate::wait;
  /// the group is broken then.
  expected<void> await_start(const start_limits&, abort_word&);
  /// Opens the gate of this rank, and of all that meet in one area with it, in whatever process. To be called by any
  /// thread, when all ranks of the gang have met; may outlive the group.
  std::function<void()> opener() const;
  /// When ranks of one process may begin: the gate is open, and all are here. `begin` is called once, by whichever
  /// thread makes it so, perhaps at once; it must not block. For a gang in one process; others do not call it.
  void on_start(std::function<void()> begin) const;
  /// In whose memory the ranks wait for the gate, where all of them share some; else null.
  const std::shared_ptr<area>& waits_in() const { return area_; }

  /// Some ranks of this group, ascending, this one among them; all of these call it, with the same list. They are
  /// numbered anew, from 0. Two ranks make the calls that both take part in in the same order, whatever the groups.
  expected<std::unique_ptr<group>> subgroup(std::span<const std::uint32_t> ranks, call_options = here::current());

  /// Memory for `count` elements that ranks on this host reduce, pass and read in place: no copy is made to send it.
  /// All ranks of the gang call it (of a subgroup: bad_input); `count` may differ. errc::over_limit: no room, in all.
  template <class T>
  expected<gang_buffer<T>> buffer(std::size_t count, call_options options = here::current()) {
    auto made = memory(comm::bytes_of<T>(count), options);
    if (!made) return unexpected(std::move(made.error()));
    return gang_buffer<T>(std::move(*made), count);
  }

  expected<std::shared_ptr<std::byte>> memory(std::size_t bytes, call_options = here::current());

  expected<void> barrier(call_options o = here::current()) { return make(plain(operation::barrier, o)); }
  pending barrier_async(call_options o = here::current()) { return later(plain(operation::barrier, o)); }

  /// Element-wise over all ranks, in place. `mean` is not for integers.
  template <number T>
  expected<void> all_reduce(std::span<T> x, reduction how, call_options o = here::current()) {
    return make(typed(operation::all_reduce, x, how, 0, o));
  }
  /// A failure of what is done around the call breaks the gang, as one of the call would.
  template <number T>
  pending all_reduce_async(std::span<T> x, reduction how, call_options o = here::current(), around_call around = {}) {
    return later(typed(operation::all_reduce, x, how, 0, o), std::move(around));
  }
  /// The result replaces the root's elements; those of the others stay.
  template <number T>
  expected<void> reduce(std::uint32_t root, std::span<T> x, reduction how, call_options o = here::current()) {
    return make(typed(operation::reduce, x, how, root, o));
  }
  template <number T>
  pending reduce_async(std::uint32_t root, std::span<T> x, reduction how, call_options o = here::current()) {
    return later(typed(operation::reduce, x, how, root, o));
  }
  /// Each rank's share of the result replaces its share of `x`; the rest of `x` stays.
  template <number T>
  expected<void> reduce_scatter(std::span<T> x, reduction how, call_options o = here::current()) {
    return make(typed(operation::reduce_scatter, x, how, 0, o));
  }
  template <number T>
  pending reduce_scatter_async(std::span<T> x, reduction how, call_options o = here::current()) {
    return later(typed(operation::reduce_scatter, x, how, 0, o));
  }
  /// Each rank's share of its `x` replaces that share of all others.
  template <number T>
  expected<void> all_gather(std::span<T> x, call_options o = here::current()) {
    return make(typed(operation::all_gather, x, reduction::sum, 0, o));
  }
  template <number T>
  pending all_gather_async(std::span<T> x, call_options o = here::current()) {
    return later(typed(operation::all_gather, x, reduction::sum, 0, o));
  }
  /// The root's elements replace those of the others.
  template <number T>
  expected<void> broadcast(std::uint32_t root, std::span<T> x, call_options o = here::current()) {
    return make(typed(operation::broadcast, x, reduction::sum, root, o));
  }
  template <number T>
  pending broadcast_async(std::uint32_t root, std::span<T> x, call_options o = here::current()) {
    return later(typed(operation::broadcast, x, reduction::sum, root, o));
  }

  /// The bytes of every rank, by rank; any size per rank.
  expected<std::vector<byte_buffer>> all_gather(byte_view mine, call_options = here::current());
  pending all_gather_async(byte_view mine, std::vector<byte_buffer>& all, call_options = here::current());
  /// The same at the root; nothing at the others.
  expected<std::vector<byte_buffer>> gather(std::uint32_t root, byte_view mine, call_options = here::current());
  pending gather_async(std::uint32_t root, byte_view mine, std::vector<byte_buffer>& all,
                       call_options = here::current());
  /// The bytes of `root` replace those of the others, whatever their size was.
  expected<void> broadcast(std::uint32_t root, byte_buffer& bytes, call_options = here::current());
  pending broadcast_async(std::uint32_t root, byte_buffer& bytes, call_options = here::current());
  /// The root has bytes for each rank, by rank; the others pass none.
  expected<byte_buffer> scatter(std::uint32_t root, std::span<const byte_view> parts, call_options = here::current());
  pending scatter_async(std::uint32_t root, std::span<const byte_view> parts, byte_buffer& mine,
                        call_options = here::current());
  /// Every rank has bytes for each rank; gets those from each, by rank.
  expected<std::vector<byte_buffer>> all_to_all(std::span<const byte_view> parts, call_options = here::current());
  pending all_to_all_async(std::span<const byte_view> parts, std::vector<byte_buffer>& all,
                           call_options = here::current());

  /// Between two ranks. Sending returns when the receiver has the bytes; so ranks that all send first wait for each
  /// other in vain, wherever they run (all_to_all does what they want). With an element type both pass the same number.
  expected<void> send(std::uint32_t to, byte_view bytes, call_options = here::current());
  pending send_async(std::uint32_t to, byte_view bytes, call_options = here::current());
  expected<byte_buffer> receive(std::uint32_t from, call_options = here::current());
  pending receive_async(std::uint32_t from, byte_buffer& bytes, call_options = here::current());
  template <class T>
  requires number<std::remove_const_t<T>> expected<void> send(std::uint32_t to, std::span<T> x,
                                                              call_options o = here::current()) {
    return make(transfer(rank_, to, element_of<std::remove_const_t<T>>, std::as_bytes(x), {}, o));
  }
  template <class T>
  requires number<std::remove_const_t<T>> pending send_async(std::uint32_t to, std::span<T> x,
                                                             call_options o = here::current()) {
    return later(transfer(rank_, to, element_of<std::remove_const_t<T>>, std::as_bytes(x), {}, o));
  }
  template <number T>
  expected<void> receive(std::uint32_t from, std::span<T> x, call_options o = here::current()) {
    return make(transfer(from, rank_, element_of<T>, {}, {nullptr, std::as_writable_bytes(x)}, o));
  }
  template <number T>
  pending receive_async(std::uint32_t from, std::span<T> x, call_options o = here::current()) {
    return later(transfer(from, rank_, element_of<T>, {}, {nullptr, std::as_writable_bytes(x)}, o));
  }

 private:
  struct gang_state;
  /// A call, before it is made.
  struct request {
    call_plan plan;
    duration timeout{};
    std::uint32_t root = 0;  // within the group; of a transfer: the sender
    std::uint32_t to = 0;
    std::byte* data = nullptr;
    byte_view bytes;
    std::span<const byte_view> parts;
    inbox one;
    std::vector<byte_buffer>* all = nullptr;
  };
  group(std::uint32_t rank, std::vector<std::uint32_t> ranks, std::uint64_t key, std::unique_ptr<group_engine> engine,
        std::shared_ptr<gang_state> state);

  request plain(operation, const call_options&, element = element::none, std::size_t count = 0,
                reduction = reduction::sum, std::uint32_t root = 0) const;
  template <class T>
  request typed(operation what, std::span<T> x, reduction how, std::uint32_t root, const call_options& o) const {
    auto r = plain(what, o, element_of<T>, x.size(), how, root);
    r.data = reinterpret_cast<std::byte*>(x.data());
    return r;
  }
  request transfer(std::uint32_t from, std::uint32_t to, element, byte_view out, inbox in, const call_options&) const;
  request bytes_of(operation, std::uint32_t root, byte_view mine, std::span<const byte_view> parts, byte_buffer* one,
                   std::vector<byte_buffer>* all, const call_options&) const;
  std::uint32_t name(std::uint32_t rank) const { return ranks_.empty() ? rank : ranks_[rank]; }

  /// Checks the arguments and makes the call, after those that were begun before.
  expected<void> make(const request&);
  pending later(request, around_call = {});
  expected<void> check(const request&) const;
  expected<void> perform(const request&);
  expected<void> perform_alone(const request&);
  expected<void> perform_typed(const request&);
  expected<void> perform_bytes(const request&);
  expected<void> perform_transfer(const request&);
  /// Remembers the first error.
  template <class T>
  expected<T> kept(expected<T> result);

  const std::uint32_t rank_;
  const std::uint32_t size_;
  const std::vector<std::uint32_t> ranks_;  // of a subgroup: gang ranks
  const std::uint64_t key_ = 0;             // of a subgroup
  std::shared_ptr<gang_state> state_;
  std::unique_ptr<group_engine> engine_;
  std::shared_ptr<area> area_;
  std::shared_ptr<start_gate> gate_;  // without an area
};

}  // namespace hydrogen::comm
