#pragma once
// An ordered queue of work on a device. Every actor and every rank has its own; enqueueing never waits, so any actor
// may do it. One thread at a time enqueues to a stream. Items of several streams that use the same memory are put in
// order on the device: a reader behind the last writer, a writer behind all readers.
//
// Shapes that do not fit throw `failure` (bad_input) and enqueue nothing. What goes wrong on the device fails the
// stream: every event from there on says what failed, where, and what comes behind counts for nothing. A stream that
// has failed stays so.

#include <hydrogen/gpu/buffer.hpp>
#include <hydrogen/gpu/device.hpp>
#include <hydrogen/gpu/graph.hpp>
#include <hydrogen/gpu/kernel.hpp>
#include <hydrogen/gpu/work.hpp>

#include <functional>
#include <initializer_list>
#include <memory>
#include <ranges>
#include <span>
#include <string>
#include <vector>

namespace hydrogen::gpu {

class stream {
 public:
  stream(stream&&) noexcept = default;
  stream& operator=(stream&&) noexcept;
  /// What is enqueued is still done; its memory is kept until then.
  ~stream();

  device& on() const { return *on_; }
  const std::string& label() const;

  /// Memory for `n` numbers; what is in it is not defined. Throws `failure` (over_limit: device, sizes).
  template <number T>
  buffer<T> allocate(std::size_t n, memory_kind kind = memory_kind::device) {
    auto owner = allocate_bytes(n, sizeof(T), kind);
    auto* at = owner ? static_cast<T*>(owner->at()) : nullptr;
    return {std::move(owner), at, n};
  }
  template <number T>
  buffer<T> allocate_pinned(std::size_t n) {
    return allocate<T>(n, memory_kind::pinned);
  }

  /// Copies the numbers into the buffer; `from` is free again at return. More than 64 MiB at a time waits for the
  /// device: on slot threads.
  template <class T>
  void upload(std::span<const T> from, const buffer<T>& to) {
    if (from.size() != to.size()) refuse_sizes("upload", from.size(), to.size());
    upload_bytes(std::as_bytes(from), to.data(), to.owner());
  }
  /// A new buffer with these numbers.
  template <std::ranges::contiguous_range R>
  auto upload(const R& from) {
    using T = std::ranges::range_value_t<R>;
    auto to = allocate<T>(std::ranges::size(from));
    upload(std::span<const T>(from), to);
    return to;
  }
  /// Copies a buffer into ordinary memory of the host, behind everything enqueued here, and waits for it: on slot
  /// threads. Errors as those of event::wait; then `to` may be partly written.
  template <class T>
  expected<void> download(const buffer<T>& from, std::span<std::remove_const_t<T>> to, time_point deadline,
                          const abort_word* abort = nullptr) {
    if (from.size() != to.size()) refuse_sizes("download", from.size(), to.size());
    return download_bytes(from.data(), from.owner(), std::as_writable_bytes(to), deadline, abort);
  }

  /// Compiles a kernel for this device, which may take long, so that the first launch need not. Throws as `launch`.
  void prepare(const kernel&);
  /// One more stream of the same owner, with the same share of the device's memory.
  expected<stream> another(std::string label) const;

  /// Everything enqueued so far.
  event here() const;
  /// What is enqueued from now on begins after `e`, of whatever stream or device. Does not wait.
  void wait_for(const event& e);
  /// Sleeps until everything enqueued is done: on slot threads.
  expected<void> finish(time_point deadline, const abort_word* abort = nullptr) const {
    return here().wait(deadline, abort);
  }

  /// The same, also where the stream has failed and the device may still be at work. Errors: timed_out.
  expected<void> drained(time_point deadline) const;

  /// From now on, what is enqueued here is recorded and not done. Uploads, downloads, events and waits are refused.
  void begin_capture();
  /// The recording. Errors: what the device says. Throws `failure` (bad_input) if none was begun.
  expected<graph_ptr> end_capture();
  /// Gives up a recording, if one was begun.
  void drop_capture();
  void replay(const graph_ptr&);

  /// A kernel of the application. Throws `failure` (bad_input) if arguments do not fit the ports, or if it has no code
  /// for this device's backend.
  void launch(const kernel&, launch_shape, std::vector<argument> arguments, std::span<memory* const> reads,
              std::span<memory* const> writes);
  void launch(const kernel& code, launch_shape shape, std::vector<argument> arguments,
              std::initializer_list<memory*> reads, std::initializer_list<memory*> writes) {
    launch(code, shape, std::move(arguments), std::span(reads.begin(), reads.size()),
           std::span(writes.begin(), writes.size()));
  }

  /// One item, behind the items of other streams that use the memory that it reads or writes. Null is no memory.
  /// For the functions in `kernels/`.
  void enqueue(work::any what, std::span<memory* const> reads, std::span<memory* const> writes);
  void enqueue(work::any what, std::initializer_list<memory*> reads, std::initializer_list<memory*> writes) {
    enqueue(std::move(what), std::span(reads.begin(), reads.size()), std::span(writes.begin(), writes.size()));
  }

 private:
  friend class device;
  friend class peer_group;
  stream(std::shared_ptr<device> on, std::shared_ptr<stream_state> state)
      : on_(std::move(on)), state_(std::move(state)) {}
  memory_ptr allocate_bytes(std::size_t n, std::size_t each, memory_kind kind);
  void upload_bytes(std::span<const std::byte> from, void* to, memory* owner);
  expected<void> download_bytes(const void* from, memory* owner, std::span<std::byte> to, time_point deadline,
                                const abort_word* abort);
  void submit(std::span<memory* const> reads, std::span<memory* const> writes,
              const std::function<void(std::uint64_t)>& put);
  void order(std::span<memory* const> reads, std::span<memory* const> writes, std::uint64_t at);
  void not_while_recording(const char* what) const;
  [[noreturn]] void refuse_sizes(const char* what, std::size_t from, std::size_t to) const;

  std::shared_ptr<device> on_;
  std::shared_ptr<stream_state> state_;
};

}  // namespace hydrogen::gpu
