#pragma once
// A reactor's connections, with the other end in the test's hands.

#include <hydrogen/comm/reactor.hpp>

#include "wire_support.hpp"

#include <atomic>

namespace hydrogen::comm::test {

/// Keeps what a connection reports.
struct observer {
  box<byte_buffer> frames;
  box<error> closed;
  std::atomic<int> closings{0};

  connection_handlers handlers() {
    return {[this](const connection_ptr&, byte_buffer b) { frames.put(std::move(b)); },
            [this](const connection_ptr&, const error& e) {
              ++closings;
              closed.put(e);
            }};
  }
};

inline byte_buffer control_header(std::uint32_t size, std::uint8_t kind) {
  byte_buffer out(5);
  std::memcpy(out.data(), &size, 4);
  out[4] = std::byte{kind};
  return out;
}

inline constexpr std::uint8_t data_kind = 0, ping_kind = 1, pong_kind = 2, bye_kind = 3;

/// No heartbeats within a test.
inline connection_options quiet() {
  connection_options o;
  o.heartbeat_interval = ample;
  o.heartbeat_timeout = ample;
  return o;
}

/// A reactor with one connection whose other end the test plays.
struct one_side {
  observer seen;  // outlives the reactor
  reactor r;
  raw_socket peer;
  connection_ptr c;

  explicit one_side(connection_options options = quiet()) {
    auto pair = unix_pair();
    peer = raw_socket(std::move(pair.b));
    c = r.adopt(std::move(pair.a), from_process("the peer"), seen.handlers(), options);
  }
  error ended() {
    auto e = seen.closed.take();
    REQUIRE(e);
    CHECK_FALSE(c->is_open());
    CHECK_FALSE(c->send(as_byte_view("too late")));
    return *e;
  }
};

inline fd_pair tcp_pair() {
  raw_listener l;
  auto a = raw_socket::connect(l.endpoint());
  auto b = l.accept();
  return {a.take(), b.take()};
}

}  // namespace hydrogen::comm::test
