#pragma once
// Dials without blocking the caller, processes of this host over their unix sockets: a few helper threads, one dial at
// a time per endpoint, so that a peer that hangs delays only those who want it. Any thread.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/comm/dial.hpp>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace hydrogen::comm {

class dial_pool {
 public:
  using done_handler = std::function<void(expected<unique_fd>)>;

  explicit dial_pool(std::size_t max_threads = 8) : max_threads_(max_threads) {}
  /// Ends what is under way and what waits (each with errc::cancelled), and joins.
  ~dial_pool();
  dial_pool(const dial_pool&) = delete;

  /// `done` runs once, on a helper thread; it must not throw, nor destroy the pool. errc::timed_out when no thread was
  /// free before the deadline.
  void connect(std::string endpoint, const secret& key, hello mine, time_point deadline, done_handler done);

 private:
  struct request {
    std::string endpoint;
    secret key;
    hello mine;
    time_point deadline;
    done_handler done;
  };
  void run();

  const std::size_t max_threads_;
  abort_word abort_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<request> waiting_;
  std::set<std::string> busy_;  // endpoints being dialled
  std::size_t idle_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace hydrogen::comm
