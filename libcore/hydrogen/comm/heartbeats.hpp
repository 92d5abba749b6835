#pragma once
// Looks after the peers of a reactor's connections, on a thread of its own: a reactor or an actor that is stuck delays
// no ping, so the peers do not take this process for dead; and what this process did not come to read is not taken for
// silence of the peer. All functions: any thread.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/comm/connection.hpp>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace hydrogen::comm {

class heartbeats {
 public:
  heartbeats() = default;
  ~heartbeats();

  /// From now on it is pinged, and ended with errc::timed_out when it is silent for too long.
  void watch(connection_ptr);
  void forget(const connection_ptr&);
  /// Joins the thread; nothing is watched afterwards.
  void stop();

 private:
  void work();
  /// When it wants to be looked at again.
  static time_point check(connection&, time_point t, duration late);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<connection_ptr> watched_;
  time_point next_ = never;
  bool stopping_ = false;
  std::thread thread_;  // started with the first connection
};

}  // namespace hydrogen::comm
