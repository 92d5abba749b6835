#pragma once
// Where the ranks of a gang wait, once they have met, until somebody who knows that all are there lets them begin.
// Ranks that share an area wait there (area.hpp); each of the others has a gate of its own.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/base/clock.hpp>

#include <atomic>
#include <functional>
#include <mutex>
#include <vector>

namespace hydrogen::comm {

/// How long ranks wait at a gate.
struct start_limits {
  duration all_here;         // for the last rank to come
  duration open;             // after that
  duration patience = 50ms;  // a rank of an area that waits longer than this calls `slow`, once, on its own thread
  std::function<void()> slow = {};
};

/// errc::timed_out: all are there, and nobody opened the gate.
error never_opened();

class start_gate {
 public:
  /// Any thread. Again: does nothing.
  void open();
  /// `begin` is called once, when it is open, by the thread that opens it or at once. Any thread.
  void on_open(std::function<void()> begin);
  /// For one thread. errc::timed_out, or the abort word's reason.
  expected<void> wait(const start_limits&, abort_word&);

 private:
  std::atomic<std::uint32_t> word_{0};  // futex: 1 open, 2 look at the abort word
  std::mutex mutex_;
  std::vector<std::function<void()>> on_open_;
};

}  // namespace hydrogen::comm
