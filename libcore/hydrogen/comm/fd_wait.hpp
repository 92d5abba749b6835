#pragma once
// Blocking waits on sockets that end at a deadline and when an abort word is set. For slot threads and helper threads,
// never for CAF workers. One waiter belongs to one thread.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/unique_fd.hpp>

#include <ctime>
#include <memory>

namespace hydrogen::comm {

/// An event that stays once it is set; a poll on its descriptor returns then.
class event_fd {
 public:
  /// Without a descriptor when the process has no more of them.
  event_fd();
  explicit operator bool() const { return static_cast<bool>(fd_); }
  int get() const { return fd_.get(); }
  void set() const;
  /// Takes what was set.
  void clear() const;

 private:
  unique_fd fd_;
};

class fd_waiter {
 public:
  /// `abort` may be null; else it must outlive the waiter.
  explicit fd_waiter(abort_word* abort);

  /// Waits for poll events; returns those that came, 0 at the deadline. The abort word's reason when that is set.
  expected<short> wait(int fd, short events, time_point deadline);

 private:
  abort_word* abort_;
  std::unique_ptr<event_fd> wake_;
  std::unique_ptr<abort_word::registration> registration_;
};

/// The time from now to `deadline` as ppoll takes it; null when there is no deadline.
class poll_timeout {
 public:
  explicit poll_timeout(time_point deadline);
  const ::timespec* get() const { return endless_ ? nullptr : &at_; }

 private:
  bool endless_;
  ::timespec at_{};
};

}  // namespace hydrogen::comm
