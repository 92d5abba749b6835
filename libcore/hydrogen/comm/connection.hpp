#pragma once
// A control connection: frames in order, both ways, over a TCP or unix stream socket that the reactor serves. Made by
// `reactor::adopt`. Shared; any thread. `send` and `close` never block. The reactor keeps it alive until it has ended.
//
// On the wire a frame is: length of the body (4 bytes, little-endian), kind (1 byte), body. Kinds: data; ping and pong
// (empty), by which the processes look after each other (heartbeats.hpp); bye (an encoded error), the last frame of a
// side that closes.

#include <hydrogen/base/bytes.hpp>
#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/comm/hello.hpp>

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

namespace hydrogen::comm {

class connection;
class heartbeats;
class reactor_loop;
using connection_ptr = std::shared_ptr<connection>;

struct connection_options {
  duration heartbeat_interval = 500ms;             // after so long without a byte from the peer it is pinged
  duration heartbeat_timeout = 3s;                 // after so long without a byte it counts as dead
  std::size_t max_frame = std::size_t{8} << 20;    // of one body, in both directions
  std::size_t max_outbox = std::size_t{64} << 20;  // sent and not yet taken by the system
};

/// Both run on the reactor's thread and must not block or throw. They are dropped after `on_closed`.
struct connection_handlers {
  std::function<void(const connection_ptr&, byte_buffer)> on_frame;
  /// Once, after the last frame: disconnected (closed or died; frames that had arrived were delivered first), timed_out
  /// (silent for too long), over_limit, bad_input (it does not keep to the protocol), io, or what `close` was given.
  std::function<void(const connection_ptr&, const error&)> on_closed;
};

class connection : public std::enable_shared_from_this<connection> {
  struct private_tag {};

 public:
  connection(private_tag, unique_fd fd, hello peer, connection_handlers handlers, connection_options options,
             std::shared_ptr<reactor_loop> loop);
  connection(const connection&) = delete;

  /// Queues a frame and tries to write it at once, unless this thread has a `cork` open. False when the connection is
  /// closed. A frame beyond `max_frame`, or an outbox beyond `max_outbox`, closes it with errc::over_limit: a lost
  /// control message would be worse.
  bool send(byte_view frame);

  /// Ends it: what was sent before still goes out (for a second without progress, ten in all), then the peer learns
  /// `why`; here `on_closed` gets `why` as it is. No frame is delivered once this returned on the reactor's thread.
  void close(error why);

  bool is_open() const noexcept { return open_.load(std::memory_order_acquire); }
  const hello& peer() const noexcept { return peer_; }
  const connection_options& options() const noexcept { return options_; }
  /// Bytes sent and not yet taken by the system.
  std::size_t queued() const;

 private:
  friend class cork;
  friend class heartbeats;
  friend class reactor_loop;
  enum class frame_kind : std::uint8_t { data, ping, pong, bye };
  static constexpr std::size_t header_size = 5;

  // With mutex_ held:
  bool write(frame_kind kind, byte_view body);
  bool broke();
  void queue(byte_view bytes);
  bool flush();
  void watch_writable(bool on);
  bool end(error why, bool graceful);

  // Any thread:
  time_point last_heard() const noexcept { return time_point(last_heard_.load(std::memory_order_relaxed)); }
  void heard_at(time_point t) noexcept { last_heard_.store(t.time_since_epoch(), std::memory_order_relaxed); }
  bool has_unread();
  void let_go();
  void finish(error why, bool graceful);
  void send_small(frame_kind kind);

  const hello peer_;
  const connection_options options_;
  const std::shared_ptr<reactor_loop> loop_;
  std::atomic<bool> open_{true};
  std::atomic<duration> last_heard_{};  // when a byte came, since the clock's epoch

  mutable std::mutex mutex_;
  unique_fd fd_;  // closed by the reactor's thread only, under the mutex
  bool registered_ = false;
  bool wants_out_ = false;
  std::deque<byte_buffer> outbox_;
  std::size_t sent_of_first_ = 0;
  std::size_t queued_ = 0;
  error reason_;
  bool graceful_ = false;

  time_point last_ping_{};  // the heartbeats' thread only

  // The reactor's thread only:
  connection_handlers handlers_;
  std::size_t slot_ = 0;       // its place in the reactor's list
  time_point linger_until_{};  // moves on while the last bytes go out, up to linger_end_
  time_point linger_end_{};
  bool lingering_ = false;
  bool dropped_ = false;
  std::array<std::byte, header_size> header_{};
  std::size_t header_have_ = 0;
  std::size_t body_size_ = 0;
  byte_buffer body_;
};

}  // namespace hydrogen::comm
