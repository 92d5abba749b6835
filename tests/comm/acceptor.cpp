#include <hydrogen/comm/dial.hpp>

#include "wire_support.hpp"
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::test;
using namespace hydrogen::comm::handshake;

namespace {

struct listening {
  secret key = secret::random();
  boot_id self = make_boot_id();
  box<hello> came;
  std::unique_ptr<acceptor> a;

  explicit listening(acceptor_options options = {}) {
    auto made = acceptor::listen(
        "127.0.0.1:0", key, self, [this](unique_fd, hello h) { came.put(std::move(h)); }, options);
    REQUIRE(made);
    a = std::move(*made);
  }
  raw_socket connect() { return raw_socket::connect(a->endpoint()); }
  expected<unique_fd> dial_well() { return dial(a->endpoint(), key, from_process("good"), now() + ample); }
};

}  // namespace

TEST_CASE("a port that is in use is a clear refusal") {
  listening first;
  const auto second = acceptor::listen(first.a->endpoint(), first.key, first.self, [](unique_fd, hello) {});
  REQUIRE_FALSE(second);
  CHECK(second.error().code == errc::refused);
  CHECK(second.error().where == first.a->endpoint());
  CHECK(second.error().what.find("in use") != std::string::npos);
  CHECK(first.dial_well());
}

TEST_CASE("a port can be listened on again right after its acceptor is gone") {
  listening first;
  const auto endpoint = first.a->endpoint();
  REQUIRE(first.dial_well());
  first.a.reset();
  CHECK(acceptor::listen(endpoint, first.key, first.self, [](unique_fd, hello) {}));
}

TEST_CASE("listening outside loopback is refused") {
  for (const std::string address : {"0.0.0.0:0", "[::]:0", "192.168.1.1:4711", "8.8.8.8:0", "[::ffff:127.0.0.1]:0"}) {
    const auto made = acceptor::listen(address, secret::random(), make_boot_id(), [](unique_fd, hello) {});
    REQUIRE_FALSE(made);
    CHECK(made.error().code == errc::refused);
    CHECK(made.error().what == "listening outside loopback needs encryption, which is not there yet");
    CHECK(made.error().where == address);
  }
}

TEST_CASE("a stranger's announced gigabyte is refused at once") {
  listening l;
  auto stranger = l.connect();
  REQUIRE(stranger.write(write_opening(make_opening())));
  CHECK(stranger.read(opening_size).size() == opening_size);
  auto bytes = write_claim({}, {});
  const std::uint32_t announced = 1u << 30;
  std::memcpy(bytes.data(), &announced, 4);
  REQUIRE(stranger.write(bytes));
  CHECK(stranger.at_end());
  CHECK(l.dial_well());
  CHECK(l.came.take());
  CHECK(l.came.size() == 0);
}

TEST_CASE("one who does not speak the protocol, or another version of it, is turned away") {
  listening l;
  auto browser = l.connect();
  REQUIRE(browser.write(as_byte_view("GET / HTTP/1.1\r\nHost: localhost:4711\r\nAccept: */*\r\n\r\n")));
  CHECK(browser.at_end());

  auto newer = l.connect();
  auto o = make_opening();
  o.version = protocol_version + 1;
  REQUIRE(newer.write(write_opening(o)));
  // It learns the version here, and nothing else.
  const auto ours = read_opening(newer.read(opening_size));
  REQUIRE(ours);
  CHECK(ours->version == protocol_version);
  CHECK(newer.at_end());
  CHECK(l.came.size() == 0);
}

TEST_CASE("the acceptor gives a stranger a verdict and no proof") {
  listening l;
  auto stranger = l.connect();
  const auto mine = make_opening();
  REQUIRE(stranger.write(write_opening(mine)));
  const auto theirs = read_opening(stranger.read(opening_size));
  REQUIRE(theirs);
  const auto said = encode_hello(from_process("stranger")).value();
  REQUIRE(
      stranger.write(write_claim(prove_as_dialler(secret::random(), mine.challenge, theirs->challenge, said), said)));
  const auto reply = read_answer(stranger.read(answer_size));
  CHECK(reply.says == verdict::wrong_secret);
  CHECK(reply.by_acceptor == proof{});
  CHECK_FALSE(reply.from);
  CHECK(stranger.at_end());
  CHECK(l.came.size() == 0);
}

TEST_CASE("a proof that was overheard is worth nothing on another connection") {
  listening l;
  // One in the middle forwards a good handshake and keeps what the dialler said.
  raw_listener middle;
  byte_buffer first;
  byte_buffer second;
  std::thread forward([&] {
    auto dialler = middle.accept();
    auto listener = l.connect();
    first = dialler.read(opening_size);
    listener.write(first);
    dialler.write(listener.read(opening_size));
    second = dialler.read(claim_size);
    const auto said = dialler.read(read_claim(second).hello_size);
    second.insert(second.end(), said.begin(), said.end());
    listener.write(second);
    dialler.write(listener.read(answer_size));
  });
  CHECK(dial(middle.endpoint(), l.key, from_process("victim"), now() + ample));
  forward.join();
  REQUIRE(l.came.take());

  auto again = l.connect();
  REQUIRE(again.write(first));
  CHECK(again.read(opening_size).size() == opening_size);
  REQUIRE(again.write(second));
  CHECK(read_answer(again.read(answer_size)).says == verdict::wrong_secret);
  CHECK(l.came.size() == 0);
}

TEST_CASE("a hello that was changed on the way is refused") {
  listening l;
  auto s = l.connect();
  const auto mine = make_opening();
  REQUIRE(s.write(write_opening(mine)));
  const auto theirs = read_opening(s.read(opening_size));
  REQUIRE(theirs);
  auto said = encode_hello(from_process("good")).value();
  const auto p = prove_as_dialler(l.key, mine.challenge, theirs->challenge, said);
  said.back() ^= std::byte{1};
  REQUIRE(s.write(write_claim(p, said)));
  CHECK(read_answer(s.read(answer_size)).says == verdict::wrong_secret);
}

TEST_CASE("a proven hello that cannot be understood is answered with that") {
  listening l;
  for (const std::size_t size : {0, 5}) {
    auto s = l.connect();
    const auto mine = make_opening();
    REQUIRE(s.write(write_opening(mine)));
    const auto theirs = read_opening(s.read(opening_size));
    REQUIRE(theirs);
    const byte_buffer said(size, std::byte{0xff});
    REQUIRE(s.write(write_claim(prove_as_dialler(l.key, mine.challenge, theirs->challenge, said), said)));
    const auto reply = read_answer(s.read(answer_size));
    CHECK(reply.says == verdict::bad_hello);
    CHECK(s.at_end());
  }
  CHECK(l.came.size() == 0);
}

TEST_CASE("a handshake that comes byte by byte is as good as any") {
  listening l({64, ample, ample});
  auto s = l.connect();
  const auto mine = make_opening();
  for (const auto b : write_opening(mine)) REQUIRE(s.write({&b, 1}));
  const auto theirs = read_opening(s.read(opening_size));
  REQUIRE(theirs);
  const auto said = encode_hello(from_process("slow but good")).value();
  for (const auto b : write_claim(prove_as_dialler(l.key, mine.challenge, theirs->challenge, said), said))
    REQUIRE(s.write({&b, 1}));
  CHECK(read_answer(s.read(answer_size)).says == verdict::welcome);
  CHECK(l.came.take()->who == "slow but good");
}

TEST_CASE("one who says nothing is shown out after the handshake's time") {
  listening l({64, 20ms, 10ms});
  auto silent = l.connect();
  CHECK(silent.at_end());
  auto half = l.connect();
  REQUIRE(half.write(write_opening(make_opening())));
  CHECK(half.read(opening_size).size() == opening_size);
  CHECK(half.at_end());
  CHECK(l.a->refused() == 2);
}

TEST_CASE("two hundred silent, dripping and shouting strangers keep no good peer out") {
  listening l({64, ample, 20ms});
  std::vector<raw_socket> strangers;
  for (int i = 0; i < 200; ++i) {
    auto s = l.connect();
    const int fd = s.get();
    const auto opening = write_opening(make_opening());
    if (i % 4 == 1) (void)!::send(fd, opening.data(), 1, MSG_NOSIGNAL);
    if (i % 4 == 2) {
      byte_buffer claim = write_claim({}, byte_buffer(100));
      (void)!::send(fd, opening.data(), opening.size(), MSG_NOSIGNAL);
      (void)!::send(fd, claim.data(), claim.size() - 50, MSG_NOSIGNAL);
    }
    if (i % 4 == 3) {
      const byte_buffer noise(20000, std::byte{0xee});
      (void)!::send(fd, noise.data(), noise.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    strangers.push_back(std::move(s));
  }
  std::atomic<bool> over{false};
  std::thread drip([&] {
    const auto opening = write_opening(make_opening());
    for (std::size_t at = 1; at < opening.size() - 1 && !over; ++at) {
      for (std::size_t i = 1; i < strangers.size(); i += 4) ::send(strangers[i].get(), &opening[at], 1, MSG_NOSIGNAL);
      std::this_thread::yield();
    }
  });
  for (int i = 0; i < 5; ++i) CHECK(l.dial_well());
  over = true;
  drip.join();
  for (int i = 0; i < 5; ++i) CHECK(l.came.take());
  CHECK(l.a->accepted() == 5);
}

TEST_CASE("many good peers at once are all let in") {
  listening l({4, ample, ample});
  std::atomic<int> in{0};
  std::vector<std::thread> peers;
  for (int i = 0; i < 16; ++i) {
    peers.emplace_back([&] {
      if (l.dial_well()) ++in;
    });
  }
  for (auto& p : peers) p.join();
  CHECK(in == 16);
}

TEST_CASE("an acceptor with strangers in the middle of their handshake ends at once") {
  auto l = std::make_unique<listening>(acceptor_options{64, ample, ample});
  auto silent = l->connect();
  auto half = l->connect();
  REQUIRE(half.write(write_opening(make_opening())));
  CHECK(half.read(opening_size).size() == opening_size);
  l->a.reset();
  CHECK(half.at_end());
}
