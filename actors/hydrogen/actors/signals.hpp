#pragma once
// SIGINT and SIGTERM as calls on a thread of its own. Handlers and not blocked masks: libraries start threads before
// main (OpenBLAS does), and a signal may go to any thread that does not block it. One at a time per process.

#include <hydrogen/base/unique_fd.hpp>

#include <functional>
#include <thread>

namespace hydrogen::actors {

class signal_watch {
 public:
  /// `on_signal` gets how many have come, from 1. It must not block.
  explicit signal_watch(std::function<void(int count)> on_signal);
  /// The signals have their default effect again.
  ~signal_watch();
  signal_watch(const signal_watch&) = delete;

 private:
  unique_fd arrived_;
  unique_fd stop_;
  std::thread thread_;
};

}  // namespace hydrogen::actors
