// Frames of control connections, and how those end.

#include <hydrogen/comm/dial.hpp>

#include "control_peer.hpp"
#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <thread>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::test;

TEST_CASE("frames that come in any pieces are put together") {
  one_side h;
  random_source random(seed());
  byte_buffer stream;
  std::vector<byte_buffer> sent;
  for (int i = 0; i < 200; ++i) {
    auto body = random_bytes(random, random.below(i % 20 == 0 ? 200'000 : 40));
    const auto header = control_header(static_cast<std::uint32_t>(body.size()), data_kind);
    stream.insert(stream.end(), header.begin(), header.end());
    stream.insert(stream.end(), body.begin(), body.end());
    sent.push_back(std::move(body));
  }
  for (std::size_t at = 0; at < stream.size();) {
    const auto n = std::min<std::size_t>(stream.size() - at, 1 + random.below(random.chance(0.5) ? 7 : 5000));
    REQUIRE(h.peer.write({stream.data() + at, n}));
    at += n;
  }
  for (const auto& body : sent) {
    const auto got = h.seen.frames.take();
    REQUIRE(got);
    CHECK(*got == body);
  }
}

TEST_CASE("many threads may send at once and no frame is torn") {
  observer left_seen;
  observer right_seen;
  auto pair = tcp_pair();
  reactor left;
  reactor right;
  const auto a = left.adopt(std::move(pair.a), from_process("right"), left_seen.handlers(), quiet());
  right.adopt(std::move(pair.b), from_process("left"), right_seen.handlers(), quiet());
  std::vector<std::thread> senders;
  for (std::uint8_t t = 0; t < 4; ++t) {
    senders.emplace_back([&, t] {
      for (std::uint32_t i = 0; i < 2000; ++i) {
        byte_buffer b(8 + i % 500, std::byte{t});
        std::memcpy(b.data() + 1, &i, 4);
        if (!a->send(b)) return;
      }
    });
  }
  for (auto& s : senders) s.join();
  std::array<std::uint32_t, 4> next{};
  for (int i = 0; i < 8000; ++i) {
    const auto b = right_seen.frames.take();
    REQUIRE(b);
    const auto t = std::to_integer<std::size_t>((*b)[0]);
    REQUIRE(t < 4);
    std::uint32_t number = 0;
    std::memcpy(&number, b->data() + 1, 4);
    REQUIRE(number == next[t]);
    REQUIRE(b->size() == 8 + number % 500);
    ++next[t];
  }
}

TEST_CASE("a peer that closes is noticed, and what it sent before is delivered first") {
  one_side h;
  for (int i = 0; i < 100; ++i) {
    REQUIRE(h.peer.write(control_header(1, data_kind)));
    REQUIRE(h.peer.write(as_byte_view("x")));
  }
  h.peer.close();
  const auto e = h.ended();
  CHECK(e.code == errc::disconnected);
  CHECK(e.what.find("the peer") != std::string::npos);
  CHECK(h.seen.frames.size() == 100);
}

TEST_CASE("a closed connection tells its peer why, after everything that was sent") {
  observer left_seen;
  observer right_seen;
  auto pair = tcp_pair();
  reactor left;
  reactor right;
  const auto a = left.adopt(std::move(pair.a), from_process("right"), left_seen.handlers(), quiet());
  const auto b = right.adopt(std::move(pair.b), from_process("left side"), right_seen.handlers(), quiet());
  // More than the system's buffers hold, so that some of it still waits when the connection is closed.
  const byte_buffer large(1 << 20, std::byte{5});
  for (int i = 0; i < 20; ++i) REQUIRE(a->send(large));
  a->close({errc::cancelled, "the run is over", {}, {}});
  CHECK_FALSE(a->send(large));
  CHECK(left_seen.closed.take()->what == "the run is over");
  const auto e = right_seen.closed.take();
  REQUIRE(e);
  CHECK(e->code == errc::disconnected);
  CHECK(e->what == "left side closed the connection: the run is over");
  CHECK(right_seen.frames.size() == 20);
  CHECK_FALSE(b->is_open());
}

TEST_CASE("however many close it, a connection ends once") {
  for (int round = 0; round < 50; ++round) {
    one_side h;
    std::vector<std::thread> closers;
    for (int t = 0; t < 4; ++t) {
      closers.emplace_back([&, t] {
        if (t == 3)
          h.peer.close();
        else
          h.c->close({errc::cancelled, "closer " + std::to_string(t), {}, {}});
      });
    }
    for (auto& t : closers) t.join();
    h.ended();
    // Another connection's whole life on the same thread: whatever there was to report has been reported.
    observer later;
    auto pair = unix_pair();
    h.r.adopt(std::move(pair.a), from_process("later"), later.handlers(), quiet());
    pair.b.reset();
    REQUIRE(later.closed.take());
    CHECK(h.seen.closings == 1);
  }
}

TEST_CASE("no frame is delivered after a handler has closed its connection") {
  box<error> closed;
  std::atomic<int> frames{0};
  reactor r;
  auto pair = unix_pair();
  raw_socket peer(std::move(pair.b));
  byte_buffer three;
  for (int i = 0; i < 3; ++i) {
    const auto h = control_header(0, data_kind);
    three.insert(three.end(), h.begin(), h.end());
  }
  REQUIRE(peer.write(three));
  r.adopt(std::move(pair.a), from_process("peer"),
          {[&](const connection_ptr& c, byte_buffer) {
             ++frames;
             c->close({errc::refused, "enough", {}, {}});
           },
           [&](const connection_ptr&, const error& e) { closed.put(e); }},
          quiet());
  CHECK(closed.take()->what == "enough");
  CHECK(frames == 1);
}

TEST_CASE("an announced frame above the limit is refused before it is received, and the peer is told") {
  auto options = quiet();
  options.max_frame = 1000;
  one_side h(options);
  REQUIRE(h.peer.write(control_header(1u << 30, data_kind)));
  const auto e = h.ended();
  CHECK(e.code == errc::over_limit);
  CHECK(e.what == "a frame of 1073741824 bytes from the peer; the limit is 1000");
  const auto header = h.peer.read(5);
  REQUIRE(header.size() == 5);
  CHECK(header[4] == std::byte{bye_kind});
  std::uint32_t size = 0;
  std::memcpy(&size, header.data(), 4);
  const auto why = decode<error>(h.peer.read(size));
  REQUIRE(why);
  CHECK(*why == e);
  CHECK(h.peer.at_end());
}

TEST_CASE("a frame of exactly the limit passes, a longer one closes the sender's side") {
  auto options = quiet();
  options.max_frame = 1000;
  one_side h(options);
  CHECK(h.c->send(byte_buffer(1000)));
  CHECK(h.peer.read(1005).size() == 1005);
  CHECK_FALSE(h.c->send(byte_buffer(1001)));
  CHECK(h.ended().code == errc::over_limit);
}

TEST_CASE("frames of unknown kind, and pings with a body, end the connection") {
  for (const auto& bytes : {control_header(0, 4), control_header(0, 255), control_header(1, ping_kind),
                            control_header(1, pong_kind), control_header(1 << 20, bye_kind)}) {
    one_side h;
    REQUIRE(h.peer.write(bytes));
    const auto code = h.ended().code;
    CHECK((code == errc::bad_input || code == errc::over_limit));
  }
}

TEST_CASE("a damaged bye is still a bye") {
  one_side h;
  REQUIRE(h.peer.write(control_header(3, bye_kind)));
  REQUIRE(h.peer.write(as_byte_view("???")));
  CHECK(h.ended().code == errc::disconnected);
}

TEST_CASE("noise on a connection ends it and nothing else") {
  random_source random(seed());
  observer good_seen;
  reactor r;
  auto good = unix_pair();
  raw_socket good_peer(std::move(good.b));
  const auto kept = r.adopt(std::move(good.a), from_process("good"), good_seen.handlers(), quiet());
  for (int i = 0; i < 200; ++i) {
    observer seen;
    auto pair = unix_pair();
    raw_socket peer(std::move(pair.b));
    const auto c = r.adopt(std::move(pair.a), from_process("noisy"), seen.handlers(), quiet());
    peer.write(random_bytes(random, 1 + random.below(100)));
    peer.close();
    REQUIRE(seen.closed.take());
  }
  REQUIRE(good_peer.write(control_header(0, data_kind)));
  CHECK(good_seen.frames.take());
  CHECK(kept->is_open());
}

TEST_CASE("a peer that does not read fills the outbox, and that ends the connection") {
  auto options = quiet();
  options.max_outbox = 1 << 20;
  one_side h(options);
  const byte_buffer frame(100'000);
  int sent = 0;
  while (h.c->send(frame)) REQUIRE(++sent < 1000);
  const auto e = h.ended();
  CHECK(e.code == errc::over_limit);
  CHECK(e.what.find("the limit is 1048576") != std::string::npos);
}

TEST_CASE("frames that a handler sends leave in their order, between those of other threads") {
  observer seen;
  auto pair = unix_pair();
  reactor left;
  reactor right;
  std::atomic<bool> go{false};
  const auto a = left.adopt(std::move(pair.a), from_process("right"), {}, quiet());
  right.adopt(std::move(pair.b), from_process("left"), seen.handlers(), quiet());
  auto trigger = unix_pair();
  raw_socket pull(std::move(trigger.b));
  left.adopt(std::move(trigger.a), from_process("trigger"),
             {[&](const connection_ptr&, byte_buffer) {
                go = true;
                for (std::uint32_t i = 0; i < 2000; ++i) a->send(encode(std::pair<std::uint8_t, std::uint32_t>(0, i)));
              },
              {}},
             quiet());
  REQUIRE(pull.write(control_header(0, data_kind)));
  while (!go) std::this_thread::yield();
  for (std::uint32_t i = 0; i < 2000; ++i) a->send(encode(std::pair<std::uint8_t, std::uint32_t>(1, i)));
  std::array<std::uint32_t, 2> next{};
  for (int i = 0; i < 4000; ++i) {
    const auto frame = seen.frames.take();
    REQUIRE(frame);
    const auto got = decode<std::pair<std::uint8_t, std::uint32_t>>(*frame);
    REQUIRE(got);
    REQUIRE(got->second == next[got->first]++);
  }
}

TEST_CASE("a reactor that goes ends all its connections, once each, and says bye") {
  std::vector<std::unique_ptr<observer>> seen;
  std::vector<raw_socket> peers;
  connection_ptr left_over;
  {
    reactor r;
    for (int i = 0; i < 20; ++i) {
      auto pair = unix_pair();
      seen.push_back(std::make_unique<observer>());
      peers.emplace_back(std::move(pair.b));
      left_over = r.adopt(std::move(pair.a), from_process("peer"), seen.back()->handlers(), quiet());
      if (i % 2 == 0) left_over->send(as_byte_view("last words"));
    }
  }
  for (int i = 0; i < 20; ++i) {
    CHECK(seen[i]->closings == 1);
    CHECK(seen[i]->closed.take()->code == errc::cancelled);
    if (i % 2 == 0) CHECK(as_text(peers[i].read(15)).substr(5) == "last words");
    const auto header = peers[i].read(5);
    REQUIRE(header.size() == 5);
    CHECK(header[4] == std::byte{bye_kind});
  }
  CHECK_FALSE(left_over->send(as_byte_view("nobody is left")));
  left_over->close({errc::cancelled, "again", {}, {}});
}

TEST_CASE("a handler may open another connection from anywhere, also while the reactor goes") {
  std::atomic<int> opened{0};
  std::atomic<int> closed{0};
  std::vector<unique_fd> others;
  {
    reactor r;
    auto pair = unix_pair();
    others.push_back(std::move(pair.b));
    r.adopt(std::move(pair.a), from_process("first"),
            {{},
             [&](const connection_ptr&, const error&) {
               ++closed;
               auto next = unix_pair();
               others.push_back(std::move(next.b));
               ++opened;
               r.adopt(std::move(next.a), from_process("second"),
                       {{}, [&](const connection_ptr&, const error&) { ++closed; }}, quiet());
             }},
            quiet());
  }
  CHECK(opened == 1);
  CHECK(closed == 2);
}

TEST_CASE("a reactor dials on threads of its own, one at a time per endpoint") {
  const auto key = secret::random();
  box<hello> came;
  const auto a =
      acceptor::listen("127.0.0.1:0", key, make_boot_id(), [&](unique_fd, hello h) { came.put(std::move(h)); });
  REQUIRE(a);
  raw_listener silent;
  raw_socket held;  // outlives the reactor: it is the reactor that ends that dial
  box<expected<unique_fd>> good;
  box<error> bad;
  {
    reactor r;
    // The first holds the silent endpoint, the others wait for it; the good endpoint is not delayed by that.
    for (int i = 0; i < 3; ++i) {
      r.connect(silent.endpoint(), key, from_process("waiting"), never,
                [&](expected<unique_fd> fd) { bad.put(fd ? error{} : fd.error()); });
    }
    for (int i = 0; i < 20; ++i) {
      r.connect((*a)->endpoint(), key, from_process("quick"), now() + ample,
                [&](expected<unique_fd> fd) { good.put(std::move(fd)); });
    }
    for (int i = 0; i < 20; ++i) {
      const auto fd = good.take();
      REQUIRE(fd);
      CHECK(*fd);
    }
    r.connect((*a)->endpoint(), secret::random(), from_process("stranger"), now() + ample,
              [&](expected<unique_fd> fd) { good.put(std::move(fd)); });
    CHECK(good.take()->error().code == errc::refused);
    CHECK(bad.size() == 0);
    held = silent.accept();
    CHECK(held.get() >= 0);
    CHECK_FALSE(silent.has_waiting());
  }
  for (int i = 0; i < 3; ++i) CHECK(bad.take()->code == errc::cancelled);
  CHECK(came.size() == 20);
}
