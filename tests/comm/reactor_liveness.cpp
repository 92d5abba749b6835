// How control connections notice peers that are silent or gone.

#include "control_peer.hpp"
#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <thread>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::test;

TEST_CASE("a peer that is silent for too long has timed out, by its name") {
  auto options = quiet();
  options.heartbeat_interval = 10ms;
  options.heartbeat_timeout = 60ms;
  one_side h(options);
  const auto e = h.ended();
  CHECK(e.code == errc::timed_out);
  CHECK(e.what.find("the peer has been silent for") == 0);
  // It had been asked.
  const auto asked = h.peer.read(5);
  REQUIRE(asked.size() == 5);
  CHECK(asked == control_header(0, ping_kind));
}

TEST_CASE("a peer that answers pings stays; when it stops answering it has timed out") {
  auto options = quiet();
  options.heartbeat_interval = 5ms;
  options.heartbeat_timeout = 1s;
  one_side h(options);
  for (int i = 0; i < 50; ++i) {
    REQUIRE(h.peer.read(5) == control_header(0, ping_kind));
    REQUIRE(h.c->is_open());
    REQUIRE(h.peer.write(control_header(0, pong_kind)));
  }
  CHECK(h.ended().code == errc::timed_out);
}

TEST_CASE("a ping is answered, also to a peer with other intervals") {
  one_side h;
  for (int i = 0; i < 10; ++i) {
    REQUIRE(h.peer.write(control_header(0, ping_kind)));
    CHECK(h.peer.read(5) == control_header(0, pong_kind));
  }
}

TEST_CASE("two quiet reactors keep each other for many time-outs' length") {
  connection_options options;
  options.heartbeat_interval = 5ms;
  options.heartbeat_timeout = 2s;
  observer left_seen;
  observer right_seen;
  auto pair = tcp_pair();
  reactor left;
  reactor right;
  left.adopt(std::move(pair.a), from_process("right"), left_seen.handlers(), options);
  const auto b = right.adopt(std::move(pair.b), from_process("left"), right_seen.handlers(), options);
  // A third connection whose peer is silent measures the time: it ends after two seconds.
  observer clock;
  auto silent = unix_pair();
  left.adopt(std::move(silent.a), from_process("silent"), clock.handlers(), options);
  CHECK(clock.closed.take()->code == errc::timed_out);
  CHECK(left_seen.closed.size() == 0);
  CHECK(right_seen.closed.size() == 0);
  CHECK(b->send(as_byte_view("still here")));
  CHECK(left_seen.frames.take());
}

TEST_CASE("a handler that is stuck for longer than the heartbeat timeout costs neither side the connection") {
  connection_options options;
  options.heartbeat_interval = 20ms;
  options.heartbeat_timeout = 600ms;
  observer left_seen;
  observer right_seen;
  std::promise<void> release;
  std::atomic<bool> stuck{false};
  auto pair = tcp_pair();
  reactor left;
  reactor right;
  const auto a = left.adopt(std::move(pair.a), from_process("right"), left_seen.handlers(), options);
  auto handlers = right_seen.handlers();
  handlers.on_frame = [&, take = handlers.on_frame](const connection_ptr& c, byte_buffer b) {
    if (!stuck.exchange(true)) release.get_future().wait();
    take(c, std::move(b));
  };
  const auto b = right.adopt(std::move(pair.b), from_process("left"), handlers, options);
  REQUIRE(a->send(as_byte_view("a frame that takes long")));
  // A connection with a silent peer measures the time.
  options.heartbeat_timeout = 2s;
  observer clock;
  auto silent = unix_pair();
  left.adopt(std::move(silent.a), from_process("silent"), clock.handlers(), options);
  CHECK(clock.closed.take()->code == errc::timed_out);
  CHECK(stuck);
  CHECK(a->is_open());
  CHECK(b->is_open());
  release.set_value();
  CHECK(right_seen.frames.take());
  REQUIRE(b->send(as_byte_view("it was worth it")));
  CHECK(left_seen.frames.take());
  CHECK(left_seen.closed.size() == 0);
  CHECK(right_seen.closed.size() == 0);
}

TEST_CASE("child: a control peer that echoes" * doctest::skip()) {
  secret::key key;
  const auto hex = setting("HYDROGEN_TEST_SECRET");
  REQUIRE(hex.size() == 64);
  for (std::size_t i = 0; i < 32; ++i) key[i] = static_cast<std::byte>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  auto fd = dial(setting("HYDROGEN_TEST_ENDPOINT"), secret::from_key(key), from_process("the child"), now() + ample);
  REQUIRE(fd);
  box<error> closed;
  reactor r;
  r.adopt(std::move(*fd), from_process("the parent"),
          {[](const connection_ptr& c, byte_buffer b) { c->send(b); },
           [&](const connection_ptr&, const error& e) { closed.put(e); }});
  CHECK(closed.take());
}

TEST_CASE("a process that is stopped times out, one that is killed is gone at once") {
  for (const bool stop : {true, false}) {
    observer seen;
    const auto key = secret::random();
    box<connection_ptr> connected;
    reactor r;
    connection_options options = quiet();
    if (stop) options = {20ms, 500ms, options.max_frame, options.max_outbox};
    const auto a = acceptor::listen("127.0.0.1:0", key, make_boot_id(), [&](unique_fd fd, hello h) {
      connected.put(r.adopt(std::move(fd), std::move(h), seen.handlers(), options));
    });
    REQUIRE(a);
    std::string hex;
    for (const auto b : key.bytes()) {
      char two[3];
      std::snprintf(two, sizeof two, "%02x", std::to_integer<unsigned>(b));
      hex += two;
    }
    child peer("child: a control peer that echoes",
               {{"HYDROGEN_TEST_ENDPOINT", (*a)->endpoint()}, {"HYDROGEN_TEST_SECRET", hex}});
    const auto c = connected.take();
    REQUIRE(c);
    CHECK((*c)->send(as_byte_view("hello there")));
    const auto echo = seen.frames.take();
    REQUIRE(echo);
    CHECK(as_text(*echo) == "hello there");
    peer.signal(stop ? SIGSTOP : SIGKILL);
    const auto e = seen.closed.take();
    REQUIRE(e);
    CHECK(e->code == (stop ? errc::timed_out : errc::disconnected));
    CHECK(e->what.find("the child") != std::string::npos);
  }
}
