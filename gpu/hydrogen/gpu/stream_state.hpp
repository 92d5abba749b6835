#pragma once
// What the events of a stream share with it: how far it is, and what went wrong. Backends report, everybody asks.
// Any thread.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/gpu/device.hpp>
#include <hydrogen/gpu/graph.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace hydrogen::gpu {

struct backend_stream;
struct recording;

struct stream_state : std::enable_shared_from_this<stream_state> {
  stream_state(device& on, std::string label);
  ~stream_state();

  device& on;  // outlives all work, though not events
  const std::string label;
  std::unique_ptr<backend_stream> queue;
  std::unique_ptr<recording> capture;   // of the thread that enqueues
  std::shared_ptr<memory_share> share;  // of the device's memory, which its buffers take from; null: all of it
  std::uint64_t submitted = 0;          // position of the last item; under the device's order lock

  // ---- asked

  bool reached(std::uint64_t at) const { return completed_.load(std::memory_order_acquire) >= at; }
  /// Reached, and nothing has gone wrong until then.
  bool is_done(std::uint64_t at) const { return reached(at) && outcome(at); }
  /// Nobody needs to wait for it: reached, or failed, though the device may still be at work.
  bool settled(std::uint64_t at) const;
  /// Whether nothing is to be run any more.
  bool has_failed() const { return failed_.load(std::memory_order_acquire); }
  /// What an event at this position says once it is reached.
  expected<void> outcome(std::uint64_t at) const;
  expected<void> wait(std::uint64_t at, time_point deadline, const abort_word* abort);
  /// Sleeps until the device has nothing left up to `at`, whatever has failed.
  expected<void> drained(std::uint64_t at, time_point deadline);
  /// Of all that was submitted until now.
  expected<void> drained(time_point deadline);
  void then(std::uint64_t at, std::function<void(expected<void>)> done);
  /// Calls `told` with the reason when the stream fails, or at once if it has: as `event::then` does, and never if it
  /// does not fail. Asks the device for nothing.
  void when_failed(std::function<void(expected<void>)> told);

  // ---- reported by the backend

  /// Everything up to `at` is done. Calls who waits for it; without locks of the backend.
  void complete(std::uint64_t at);
  std::uint64_t completed() const { return completed_.load(std::memory_order_acquire); }
  /// The item at this position failed; `why` without device and stream, which are added. The first one counts.
  void fail(std::uint64_t at, error why);
  /// The kernel under way, for messages; a name that lives for ever.
  void begins(const char* kernel) { running_.store(kernel, std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> completed_{0};
  std::atomic<bool> failed_{false};
  bool sleep(std::uint64_t at, time_point deadline, const abort_word* abort, const std::function<bool()>& done);
  error late() const;
  void call_settled();
  void wake();
  std::atomic<std::uint32_t> changes_{0};  // slept on
  std::atomic<std::uint32_t> sleepers_{0};
  std::atomic<const char*> running_{nullptr};
  mutable std::mutex mutex_;
  std::uint64_t failed_at_ = 0;
  error why_{errc::none, {}, {}, {}};
  struct waiter {
    std::uint64_t at;
    std::function<void(expected<void>)> done;
  };
  std::vector<waiter> waiters_;
};

/// What a stream records between begin_capture and end_capture.
struct recording {
  std::vector<recorded> items;
  std::vector<memory_ptr> reads, writes;
};

}  // namespace hydrogen::gpu
