#pragma once
// Calls that are made later: a thread of a rank's own makes them one after the other, in the order in which they were
// given to it, while the rank goes on.

#include <hydrogen/base/error.hpp>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

namespace hydrogen::comm {

/// One such call. Used by the rank's thread. Buffers of the call are not to be touched before `wait` has returned,
/// which it does within the timeout of the call and of those before it; the destructor waits, too.
class pending {
 public:
  pending() = default;
  pending(pending&&) = default;
  pending& operator=(pending&& other);
  ~pending();

  /// The result of the call; again: the same.
  expected<void> wait();
  bool is_done() const;

 private:
  friend class call_queue;
  struct state;
  explicit pending(std::shared_ptr<state> s) : state_(std::move(s)) {}
  std::shared_ptr<state> state_;
};

/// What the thread that makes a call does just before it, and just after it when it went well. A failure of `before`,
/// returned or thrown, takes the place of the call. Either may wait, with a deadline.
struct around_call {
  std::function<expected<void>()> before, after;  // null: nothing
};

/// Its thread begins with the first call. `make` and `drain` by the rank's thread.
class call_queue {
 public:
  call_queue() = default;
  /// Waits for what was given to it.
  ~call_queue();
  call_queue(const call_queue&) = delete;

  pending make(std::function<expected<void>()> call);
  /// Returns when all calls have been made.
  void drain();

 private:
  struct job {
    std::function<expected<void>()> call;
    std::shared_ptr<pending::state> result;
  };
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<job> jobs_;  // the first one is being made
  bool stopping_ = false;
  bool is_used_ = false;  // for the rank's thread alone
  std::thread thread_;
};

}  // namespace hydrogen::comm
