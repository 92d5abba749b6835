#pragma once
// One per process: a thread that serves all control connections. Frames go to handlers on this thread, which pass them
// on to actors. A second thread looks after the peers (heartbeats.hpp), so that a handler that is stuck delays no ping.
// Any thread may call it, except that a handler must not destroy it.

#include <hydrogen/comm/connection.hpp>
#include <hydrogen/comm/dial_pool.hpp>

#include <memory>
#include <string>
#include <thread>

namespace hydrogen::comm {

/// Runs `deliver`, once, which calls handlers for all that has arrived; and what it likes before and after that. What
/// is sent meanwhile leaves when it returns (cork.hpp).
using round_wrapper = std::function<void(const std::function<void()>& deliver)>;

class reactor {
 public:
  /// Throws `failure` when no descriptor is left.
  reactor();
  /// Says bye on every connection (their `on_closed` gets errc::cancelled), ends dials, and joins: about a second when
  /// a peer does not answer, ten when one takes its last bytes slowly.
  ~reactor();
  reactor(const reactor&) = delete;
  reactor& operator=(const reactor&) = delete;

  /// Takes over a proven TCP socket or one end of a unix stream pair. `peer` is what messages and `connection::peer`
  /// say about the other side. `on_frame` may run before this returns.
  connection_ptr adopt(unique_fd fd, hello peer, connection_handlers handlers, connection_options options = {});

  /// Dials on a helper thread, one dial at a time per endpoint; `done` runs once, there. Errors as of `dial`;
  /// errc::cancelled when the reactor goes.
  void connect(std::string endpoint, const secret& key, hello mine, time_point deadline,
               std::function<void(expected<unique_fd>)> done);

  /// From one of the next rounds of events on. The reactor's thread runs it; it must not block.
  void around_rounds(round_wrapper);

  /// How many connections it serves now.
  std::size_t size() const;

 private:
  std::shared_ptr<reactor_loop> loop_;
  std::thread thread_;
  std::unique_ptr<dial_pool> dials_;
};

}  // namespace hydrogen::comm
