#pragma once
// Wakes a rank that sleeps in poll(): an eventfd, written only while the rank says that it sleeps. One owner (the
// rank's thread) sleeps; any thread wakes.

#include <hydrogen/base/error.hpp>
#include <hydrogen/base/unique_fd.hpp>

#include <atomic>
#include <memory>

namespace hydrogen::comm {

class waker {
 public:
  static expected<std::shared_ptr<waker>> make();
  explicit waker(unique_fd fd) : fd_(std::move(fd)) {}

  int fd() const { return fd_.get(); }
  /// Any thread, after it has made its news visible. Does not block.
  void wake() noexcept;
  /// Owner: say so, look for news once more, then poll, then `awake`.
  void will_sleep() noexcept { sleeping_.store(true, std::memory_order_seq_cst); }
  void awake() noexcept;

 private:
  unique_fd fd_;
  std::atomic<bool> sleeping_{false};
};

}  // namespace hydrogen::comm
