#include <hydrogen/comm/dial.hpp>
#include <hydrogen/comm/reactor.hpp>

#include "wire_support.hpp"
#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <thread>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::test;

namespace {

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

byte_buffer control_header(std::uint32_t size, std::uint8_t kind) {
  byte_buffer out(5);
  std::memcpy(out.data(), &size, 4);
  out[4] = std::byte{kind};
  return out;
}

constexpr std::uint8_t data_kind = 0, ping_kind = 1, pong_kind = 2, bye_kind = 3;

/// No heartbeats within a test.
connection_options quiet() {
  connection_options o;
  o.heartbeat_interval = ample;
  o.heartbeat_timeout = ample;
  return o;
}

/// A reactor with one connection whose other end the test plays.
struct half {
  observer seen;  // outlives the reactor
  reactor r;
  raw_socket peer;
  connection_ptr c;

  explicit half(connection_options options = quiet()) {
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

fd_pair tcp_pair() {
  raw_listener l;
  auto a = raw_socket::connect(l.endpoint());
  auto b = l.accept();
  return {a.take(), b.take()};
}

/// What frame `i` of a direction holds: its size and bytes follow from the seed.
byte_buffer numbered_frame(std::uint64_t base, std::uint64_t i) {
  random_source random(base + i);
  const std::size_t size =
      random.chance(0.001) ? random.below(300'000) : random.below(random.chance(0.1) ? 20'000 : 300);
  return random_bytes(random, size);
}

/// Sends `count` frames, at most `ahead` before they are known to have arrived.
struct direction {
  std::uint64_t base;
  std::uint64_t count;
  std::mutex mutex;
  std::condition_variable changed;
  std::uint64_t arrived = 0;
  std::uint64_t wrong = 0;
  bool broken = false;

  void send_all(connection& c) {
    for (std::uint64_t i = 0; i < count; ++i) {
      {
        std::unique_lock lock(mutex);
        if (!changed.wait_for(lock, ample, [&] { return broken || i - arrived < 2000; }) || broken) return;
      }
      if (!c.send(numbered_frame(base, i))) return;
    }
  }
  void receive(const byte_buffer& b) {
    std::lock_guard lock(mutex);
    if (b != numbered_frame(base, arrived)) ++wrong;
    ++arrived;
    changed.notify_all();
  }
  void lost() {
    std::lock_guard lock(mutex);
    broken = true;
    changed.notify_all();
  }
  bool all() {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, ample, [&] { return broken || arrived == count; }) && arrived == count;
  }
};

void both_ways(fd_pair pair, std::uint64_t count) {
  const auto s = seed();
  CAPTURE(s);
  direction there{s * 1'000'003, count, {}, {}};
  direction back{s * 7'000'003, count, {}, {}};
  const auto handlers = [](direction& in, direction& out) {
    return connection_handlers{[&in](const connection_ptr&, byte_buffer b) { in.receive(b); },
                               [&in, &out](const connection_ptr&, const error&) { in.lost(), out.lost(); }};
  };
  reactor left;
  reactor right;
  const auto a = left.adopt(std::move(pair.a), from_process("right"), handlers(back, there));
  const auto b = right.adopt(std::move(pair.b), from_process("left"), handlers(there, back));
  std::thread one([&] { there.send_all(*a); });
  std::thread other([&] { back.send_all(*b); });
  one.join();
  other.join();
  CHECK(there.all());
  CHECK(back.all());
  CHECK(there.wrong == 0);
  CHECK(back.wrong == 0);
}

}  // namespace

#if defined(__SANITIZE_THREAD__)
constexpr std::uint64_t frames_each_way = 10'000;
#else
constexpr std::uint64_t frames_each_way = 100'000;
#endif

TEST_CASE("100000 frames of random sizes each way arrive whole and in order over TCP") {
  both_ways(tcp_pair(), frames_each_way);
}

TEST_CASE("frames of random sizes arrive whole and in order over a unix socket") {
  both_ways(unix_pair(), frames_each_way / 5);
}

TEST_CASE("frames that come in any pieces are put together") {
  half h;
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
  half h;
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
    half h;
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
  half h(options);
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
  half h(options);
  CHECK(h.c->send(byte_buffer(1000)));
  CHECK(h.peer.read(1005).size() == 1005);
  CHECK_FALSE(h.c->send(byte_buffer(1001)));
  CHECK(h.ended().code == errc::over_limit);
}

TEST_CASE("frames of unknown kind, and pings with a body, end the connection") {
  for (const auto& bytes : {control_header(0, 4), control_header(0, 255), control_header(1, ping_kind),
                            control_header(1, pong_kind), control_header(1 << 20, bye_kind)}) {
    half h;
    REQUIRE(h.peer.write(bytes));
    const auto code = h.ended().code;
    CHECK((code == errc::bad_input || code == errc::over_limit));
  }
}

TEST_CASE("a damaged bye is still a bye") {
  half h;
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
  half h(options);
  const byte_buffer frame(100'000);
  int sent = 0;
  while (h.c->send(frame)) REQUIRE(++sent < 1000);
  const auto e = h.ended();
  CHECK(e.code == errc::over_limit);
  CHECK(e.what.find("the limit is 1048576") != std::string::npos);
}

TEST_CASE("a peer that is silent for too long has timed out, by its name") {
  auto options = quiet();
  options.heartbeat_interval = 10ms;
  options.heartbeat_timeout = 60ms;
  half h(options);
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
  half h(options);
  for (int i = 0; i < 50; ++i) {
    REQUIRE(h.peer.read(5) == control_header(0, ping_kind));
    REQUIRE(h.c->is_open());
    REQUIRE(h.peer.write(control_header(0, pong_kind)));
  }
  CHECK(h.ended().code == errc::timed_out);
}

TEST_CASE("a ping is answered, also to a peer with other intervals") {
  half h;
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
