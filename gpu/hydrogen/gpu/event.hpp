#pragma once
// A point in a stream: everything enqueued before it. Plain values that share the stream's state, any thread. Making,
// copying and asking costs no call of the device.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/error.hpp>

#include <cstdint>
#include <functional>
#include <memory>

namespace hydrogen::gpu {

struct stream_state;

class event {
 public:
  event() = default;  // has always been reached
  event(std::shared_ptr<stream_state> of, std::uint64_t at) : stream_(std::move(of)), at_(at) {}

  /// Whether it has been reached, or never will be since its stream has failed. Never blocks.
  bool ready() const;

  /// Sleeps until it is reached. On slot threads, never on a CAF worker. Errors: the stream's own (task_failed names
  /// device, kernel and stream); timed_out, naming the kernel under way; what the abort word says.
  expected<void> wait(time_point deadline, const abort_word* abort = nullptr) const;

  /// Calls `done` once it is reached or its stream has failed, on a thread of the device, or at once on this one. It
  /// must not block and may not throw: it sends a message.
  void then(std::function<void(expected<void>)> done) const;

  const std::shared_ptr<stream_state>& of() const { return stream_; }
  std::uint64_t at() const { return at_; }

 private:
  std::shared_ptr<stream_state> stream_;
  std::uint64_t at_ = 0;
};

/// How often this thread has waited for a device. Tests of what may never block ask for it on their threads.
std::uint64_t device_waits_of_this_thread();

}  // namespace hydrogen::gpu
