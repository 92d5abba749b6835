#pragma once
// SIGINT and SIGTERM as calls on a thread of its own. Construct it before any other thread starts: it blocks the
// signals in the calling thread, and threads inherit that. One per process.

#include <hydrogen/base/unique_fd.hpp>

#include <functional>
#include <thread>

namespace hydrogen::actors {

class signal_watch {
 public:
  /// `on_signal` gets how many have come, from 1. It must not block.
  explicit signal_watch(std::function<void(int count)> on_signal);
  ~signal_watch();
  signal_watch(const signal_watch&) = delete;

 private:
  unique_fd signals_;
  unique_fd stop_;
  std::thread thread_;
};

}  // namespace hydrogen::actors
