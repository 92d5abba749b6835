#pragma once
// The inside of the reactor: its epoll loop and what belongs to it. Used by reactor.cpp and connection.cpp only.

#include <hydrogen/comm/connection.hpp>
#include <hydrogen/comm/fd_wait.hpp>
#include <hydrogen/comm/heartbeats.hpp>
#include <hydrogen/comm/reactor.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

namespace hydrogen::comm {

class reactor_loop : public std::enable_shared_from_this<reactor_loop> {
 public:
  /// Throws `failure` when no descriptor is left.
  reactor_loop();

  /// Any thread. After the loop has ended the connection is closed at once, and `on_closed` runs on the caller.
  connection_ptr adopt(unique_fd fd, hello peer, connection_handlers handlers, connection_options options);
  /// Any thread: a connection went from open to closed.
  void ended(connection_ptr c);
  /// Any thread: `run` says bye to all and returns, within a bounded time.
  void stop();
  void around_rounds(round_wrapper);
  void run();
  int epoll() const { return epoll_.get(); }
  std::size_t size() const { return size_.load(std::memory_order_relaxed); }

 private:
  void take_news(time_point t);
  void enter(const connection_ptr& c, time_point t);
  void finish(const connection_ptr& c, time_point t);
  void drop(connection& c);
  void serve(connection& c, std::uint32_t events, time_point t);
  void read(connection& c);
  void parse(connection& c, byte_view in);
  bool begin_body(connection& c);
  void deliver(connection& c, byte_buffer body);
  void check_lingering(time_point t);
  void plan(time_point at);

  unique_fd epoll_;
  event_fd wake_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::size_t> size_{0};

  std::mutex mutex_;
  bool finished_ = false;
  std::atomic<bool> news_{false};
  std::vector<connection_ptr> entering_;
  std::vector<connection_ptr> ended_;
  std::shared_ptr<const round_wrapper> around_;

  heartbeats beats_;

  // The loop's thread only:
  std::vector<connection_ptr> connections_;
  std::vector<connection_ptr> dropped_;  // kept until the events that may name them are over
  std::vector<std::byte> buffer_;
  time_point next_check_ = never;
};

}  // namespace hydrogen::comm
