#include <hydrogen/comm/dial.hpp>

#include "wire_support.hpp"
#include <doctest/doctest.h>

#include <future>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::test;
using namespace hydrogen::comm::handshake;

namespace {

/// Dials a listener whose other side the test plays.
struct played {
  raw_listener listener;
  secret key = secret::random();
  hello mine = from_process("the dialler");
  std::future<expected<dialled>> result;
  raw_socket peer;

  played() {
    result =
        std::async(std::launch::async, [this] { return dial_peer(listener.endpoint(), key, mine, now() + ample); });
    peer = listener.accept();
  }
  error failed() {
    auto r = result.get();
    REQUIRE_FALSE(r);
    CHECK(r.error().where == listener.endpoint());
    return r.error();
  }
};

}  // namespace

TEST_CASE("a dialler and a listener with one secret meet, and the listener knows who came") {
  const auto key = secret::random();
  const auto self = make_boot_id();
  box<std::pair<raw_socket, hello>> came;
  const auto a = acceptor::listen("127.0.0.1:0", key, self, [&](unique_fd fd, hello h) {
    came.put({raw_socket(std::move(fd)), std::move(h)});
  });
  REQUIRE(a);
  hello mine{link_purpose::gang, make_boot_id(), self, "rank 3", "127.0.0.1:1", byte_buffer(1000, std::byte{9})};
  auto made = dial_peer((*a)->endpoint(), key, mine, now() + ample);
  REQUIRE(made);
  CHECK(made->peer == self);
  auto there = came.take();
  REQUIRE(there);
  CHECK(there->second == mine);

  // The socket carries bytes both ways, and nothing of the handshake is left in it.
  raw_socket here(std::move(made->fd));
  REQUIRE(here.write(as_byte_view("ping")));
  CHECK(as_text(there->first.read(4)) == "ping");
  REQUIRE(there->first.write(as_byte_view("pong")));
  CHECK(as_text(here.read(4)) == "pong");
}

TEST_CASE("a dialler with another secret is told so") {
  const auto self = make_boot_id();
  const auto a =
      acceptor::listen("127.0.0.1:0", secret::random(), self, [](unique_fd, hello) { FAIL_CHECK("accepted"); });
  REQUIRE(a);
  const auto made = dial((*a)->endpoint(), secret::random(), from_process("stranger"), now() + ample);
  REQUIRE_FALSE(made);
  CHECK(made.error().code == errc::refused);
  CHECK(made.error().what == "wrong secret");
  CHECK(made.error().where == (*a)->endpoint());
  CHECK((*a)->accepted() == 0);
}

TEST_CASE("a process that is gone is not confused with the one that listens in its place") {
  const auto key = secret::random();
  const boot_id self{0xabc};
  const auto a = acceptor::listen("127.0.0.1:0", key, self, [](unique_fd, hello) { FAIL_CHECK("accepted"); });
  REQUIRE(a);
  auto mine = from_process("executor");
  mine.to = boot_id{0xdef};
  const auto made = dial((*a)->endpoint(), key, mine, now() + ample);
  REQUIRE_FALSE(made);
  CHECK(made.error().code == errc::disconnected);
  CHECK(made.error().what.find("that process (0000000000000def) is gone") != std::string::npos);
  CHECK(made.error().what.find("0000000000000abc") != std::string::npos);
}

TEST_CASE("another protocol version is named with both numbers") {
  played p;
  CHECK(read_opening(p.peer.read(opening_size)));
  auto theirs = make_opening();
  theirs.version = protocol_version + 41;
  REQUIRE(p.peer.write(write_opening(theirs)));
  const auto e = p.failed();
  CHECK(e.code == errc::mismatch);
  CHECK(e.what == "other protocol version " + std::to_string(protocol_version + 41) + ", this is " +
                      std::to_string(protocol_version));
}

TEST_CASE("a listener that is not Hydrogen is recognised") {
  played p;
  REQUIRE(p.peer.write(as_byte_view("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")));
  CHECK(p.failed().code == errc::mismatch);
}

TEST_CASE("a listener that closes before it answers is not taken for a wrong secret") {
  played p;
  CHECK(p.peer.read(opening_size).size() == opening_size);
  p.peer.close();
  CHECK(p.failed().code == errc::disconnected);
}

TEST_CASE("a listener that closes after the proof without a verdict is probably one with another secret") {
  played p;
  CHECK(p.peer.read(opening_size).size() == opening_size);
  REQUIRE(p.peer.write(write_opening(make_opening())));
  CHECK(p.peer.read(claim_size).size() == claim_size);
  p.peer.close();
  const auto e = p.failed();
  CHECK(e.code == errc::refused);
  CHECK(e.what.find("wrong secret") != std::string::npos);
}

TEST_CASE("a listener that sends the dialler's own nonce and proof back is refused") {
  played p;
  const auto theirs = read_opening(p.peer.read(opening_size));
  REQUIRE(theirs);
  REQUIRE(p.peer.write(write_opening(*theirs)));
  const auto claimed = read_claim(p.peer.read(claim_size));
  CHECK(p.peer.read(claimed.hello_size).size() == claimed.hello_size);
  REQUIRE(p.peer.write(write_answer({verdict::welcome, make_boot_id(), claimed.by_dialler})));
  const auto e = p.failed();
  CHECK(e.code == errc::refused);
  CHECK(e.what.find("did not prove") != std::string::npos);
}

TEST_CASE("a welcome without the secret's proof is refused, and so is a forged verdict about the boot") {
  for (const auto says : {verdict::welcome, verdict::wrong_boot, verdict::bad_hello, static_cast<verdict>(77)}) {
    played p;
    CHECK(p.peer.read(opening_size).size() == opening_size);
    REQUIRE(p.peer.write(write_opening(make_opening())));
    const auto claimed = read_claim(p.peer.read(claim_size));
    CHECK(p.peer.read(claimed.hello_size).size() == claimed.hello_size);
    REQUIRE(p.peer.write(write_answer({says, make_boot_id(), {}})));
    CHECK(p.failed().code == errc::refused);
  }
}

TEST_CASE("a listener that never answers ends in a time-out that names the endpoint") {
  raw_listener silent;
  const auto made = dial(silent.endpoint(), secret::random(), from_process("dialler"), now() + 30ms);
  REQUIRE_FALSE(made);
  CHECK(made.error().code == errc::timed_out);
  CHECK(made.error().where == silent.endpoint());
}

TEST_CASE("an abort ends a dial that has no deadline, with its reason") {
  raw_listener silent;
  abort_word abort;
  auto result = std::async(std::launch::async, [&] {
    return dial(silent.endpoint(), secret::random(), from_process("dialler"), never, &abort);
  });
  auto peer = silent.accept();
  CHECK(peer.read(opening_size).size() == opening_size);
  abort.set({errc::aborted, "the gang was revoked", {}, {}});
  const auto made = result.get();
  REQUIRE_FALSE(made);
  CHECK(made.error().what == "the gang was revoked");
}

TEST_CASE("a port on which nobody listens refuses the connection") {
  std::string endpoint;
  {
    raw_listener gone;
    endpoint = gone.endpoint();
  }
  const auto made = dial(endpoint, secret::random(), from_process("dialler"), now() + ample);
  REQUIRE_FALSE(made);
  CHECK(made.error().code == errc::disconnected);
  CHECK(made.error().what.find("refused") != std::string::npos);
}

TEST_CASE("what is not an address and a port is bad input") {
  for (const std::string text : {"", "127.0.0.1", ":4711", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:-1",
                                 "node-1:4711", "[::1:4711", "127.0.0.1:47x", "[]:1"}) {
    const auto made = dial(text, secret::random(), from_process("dialler"), now() + ample);
    REQUIRE_FALSE(made);
    CHECK_MESSAGE(made.error().code == errc::bad_input, text);
  }
  CHECK(to_string(parse_endpoint("localhost:80").value()) == "127.0.0.1:80");
  CHECK(to_string(parse_endpoint("[::1]:80").value()) == "[::1]:80");
}
