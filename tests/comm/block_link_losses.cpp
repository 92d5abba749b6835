// Fetching blocks from holders and connections that fail, and serving receivers that do.

#include "block_holder.hpp"
#include <doctest/doctest.h>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::test;

TEST_CASE("a kept connection that the peer closes when it is used again is replaced by a fresh one") {
  false_holder h([](int number, raw_socket& s) {
    const int fetches = number == 1 ? 1 : 100;
    for (int i = 0; i < fetches; ++i) {
      const auto r = next_fetch(s);
      if (r.what != block_wire::ask::fetch) return;
      block_wire::head head;
      head.index = r.index;
      head.size = 2;
      s.write(answer_with(head, as_byte_view("ok")));
    }
    // The first link takes one more request and closes without an answer.
    next_fetch(s);
    shutdown(s.get(), SHUT_RDWR);
  });
  {
    block_client client(h.key, make_boot_id());
    const auto keys = keys_up_to(1);
    for (int i = 0; i < 3; ++i) {
      const auto got = client.fetch(h.a->endpoint(), h.self, keys, nullptr, ample);
      REQUIRE(got);
      CHECK(as_text((*got)[0].bytes()) == "ok");
    }
  }
  CHECK(h.links == 2);
}

TEST_CASE("a fresh connection that closes without an answer is a dead peer, tried once") {
  false_holder h([](int, raw_socket& s) { next_fetch(s); });
  block_client client(h.key, make_boot_id());
  const auto keys = keys_up_to(1);
  const auto got = client.fetch(h.a->endpoint(), h.self, keys, nullptr, ample);
  REQUIRE_FALSE(got);
  CHECK(got.error().code == errc::disconnected);
  CHECK(h.a->accepted() == 1);
}

TEST_CASE("a damaged block is noticed") {
  false_holder h([](int number, raw_socket& s) {
    const auto r = next_fetch(s);
    block_wire::head head;
    head.index = r.index;
    head.size = 5;
    if (number == 1) {
      s.write(answer_with(head, as_byte_view("hello"), 1));
    } else if (number == 2) {
      head.index += 1;
      s.write(answer_with(head, as_byte_view("hello")));
    } else {
      head.failed = 1;
      s.write(answer_with(head, as_byte_view("hello")));
    }
    s.read_to_end();
  });
  const auto keys = keys_up_to(1);
  for (int i = 0; i < 2; ++i) {
    block_client client(h.key, make_boot_id());
    const auto got = client.fetch(h.a->endpoint(), h.self, keys, nullptr, ample);
    REQUIRE_FALSE(got);
    CHECK(got.error().code == errc::io);
  }
  block_client client(h.key, make_boot_id());
  CHECK_FALSE(client.fetch(h.a->endpoint(), h.self, keys, nullptr, ample));
}

TEST_CASE("an announced size above the limit, or beyond all memory, is refused") {
  false_holder h([](int, raw_socket& s) {
    const auto r = next_fetch(s);
    block_wire::head head;
    head.index = r.index;
    head.size = std::uint64_t{1} << 60;
    s.write(answer_with(head, {}));
    s.read_to_end();
  });
  const auto keys = keys_up_to(1);
  block_client client(h.key, make_boot_id());
  const auto got = client.fetch(h.a->endpoint(), h.self, keys, nullptr, ample);
  REQUIRE_FALSE(got);
  CHECK(got.error().code == errc::over_limit);
}

TEST_CASE("a holder that says nothing is given up after the idle time") {
  false_holder h([](int, raw_socket& s) {
    while (next_fetch(s).what == block_wire::ask::fetch) {
    }
  });
  block_client client(h.key, make_boot_id());
  const auto keys = keys_up_to(3);
  const auto got = client.fetch(h.a->endpoint(), h.self, keys, nullptr, 50ms);
  REQUIRE_FALSE(got);
  CHECK(got.error().code == errc::timed_out);
  CHECK(got.error().where == h.a->endpoint());
}

TEST_CASE("an abort ends a fetch that waits") {
  abort_word abort;
  false_holder h([&](int, raw_socket& s) {
    next_fetch(s);
    block_wire::head head;
    head.size = 1000;
    s.write({reinterpret_cast<const std::byte*>(&head), sizeof head});
    abort.set({errc::aborted, "the gang was revoked", {}, {}});
    s.read_to_end();
  });
  block_client client(h.key, make_boot_id());
  const auto keys = keys_up_to(3);
  const auto got = client.fetch(h.a->endpoint(), h.self, keys, &abort, ample);
  REQUIRE_FALSE(got);
  CHECK(got.error().what == "the gang was revoked");
}

TEST_CASE("an abort or an error of the sink in the middle of a transfer ends it") {
  holder h;
  for (std::uint64_t i = 0; i < 20; ++i) h.add(i, byte_buffer(1 << 20));
  block_client client(h.key, make_boot_id());
  const auto keys = keys_up_to(20);
  abort_word abort;
  int taken = 0;
  auto done = client.fetch(
      h.endpoint(), h.self, keys,
      [&](std::size_t index, fetched_block) -> expected<void> {
        ++taken;
        if (index == 5) abort.set({errc::aborted, "revoked", {}, {}});
        return {};
      },
      &abort, ample);
  REQUIRE_FALSE(done);
  CHECK(done.error().what == "revoked");
  CHECK(taken == 6);
  done = client.fetch(
      h.endpoint(), h.self, keys,
      [&](std::size_t index, fetched_block) -> expected<void> {
        if (index == 3) return fail(errc::over_limit, "the reader has enough");
        return {};
      },
      nullptr, ample);
  REQUIRE_FALSE(done);
  CHECK(done.error().what == "the reader has enough");
  CHECK(client.fetch(h.endpoint(), h.self, keys, nullptr, ample));
}

TEST_CASE("a server that goes in the middle of a transfer is a dead peer, and does not wait for its readers") {
  holder h;
  for (std::uint64_t i = 0; i < 8; ++i) h.add(i, byte_buffer(std::size_t{16} << 20));
  block_client client(h.key, make_boot_id());
  const auto keys = keys_up_to(8);
  const auto done = client.fetch(
      h.endpoint(), h.self, keys,
      [&](std::size_t index, fetched_block) -> expected<void> {
        if (index == 2) {
          h.a.reset();
          h.server.reset();
        }
        return {};
      },
      nullptr, ample);
  REQUIRE_FALSE(done);
  CHECK(done.error().code == errc::disconnected);
}

TEST_CASE("another process in the holder's place is not asked for its blocks") {
  holder h;
  h.add(0, byte_buffer(10));
  block_client client(h.key, make_boot_id());
  const auto keys = keys_up_to(1);
  const auto got = client.fetch(h.endpoint(), make_boot_id(), keys, nullptr, ample);
  REQUIRE_FALSE(got);
  CHECK(got.error().code == errc::disconnected);
}

TEST_CASE("child: a holder of blocks" * doctest::skip()) {
  raw_socket parent = raw_socket::connect(setting("HYDROGEN_TEST_ENDPOINT"));
  secret::key zero{};
  holder h(secret::from_key(zero));
  for (std::uint64_t i = 0; i < 8; ++i) h.add(i, byte_buffer(std::size_t{8} << 20));
  REQUIRE(parent.write(as_byte_view(h.endpoint())));
  REQUIRE(parent.write(as_byte_view("\n")));
  CHECK(parent.at_end());
}

TEST_CASE("a holder that is killed in the middle of a transfer is a dead peer; one that is stopped times out") {
  for (const bool stop : {false, true}) {
    raw_listener meeting;
    child process("child: a holder of blocks", {{"HYDROGEN_TEST_ENDPOINT", meeting.endpoint()}});
    auto there = meeting.accept();
    std::string endpoint;
    for (auto c = there.read(1); !c.empty() && as_text(c) != "\n"; c = there.read(1)) endpoint += as_text(c);
    secret::key zero{};
    block_client client(secret::from_key(zero), make_boot_id());
    const auto keys = keys_up_to(8);
    const auto done = client.fetch(
        endpoint, {}, keys,
        [&](std::size_t index, fetched_block) -> expected<void> {
          if (index == 1) process.signal(stop ? SIGSTOP : SIGKILL);
          return {};
        },
        nullptr, stop ? 300ms : ample);
    REQUIRE_FALSE(done);
    CHECK(done.error().code == (stop ? errc::timed_out : errc::disconnected));
  }
}

TEST_CASE("a receiver that breaks the protocol is dropped, the others are served") {
  holder h;
  h.add(0, byte_buffer(1 << 20));
  const auto bad = [&](byte_view bytes) {
    auto fd = unix_pair();
    h.server->accepted(std::move(fd.a), from_process("bad receiver", link_purpose::block));
    raw_socket s(std::move(fd.b));
    s.write(bytes);
    CHECK(s.at_end());
  };
  block_wire::request r;
  r.what = static_cast<block_wire::ask>(9);
  bad({reinterpret_cast<const std::byte*>(&r), sizeof r});
  r.what = block_wire::ask::grant;
  r.amount = ~std::uint64_t{0};
  bad({reinterpret_cast<const std::byte*>(&r), sizeof r});
  byte_buffer many;
  for (std::size_t i = 0; i < 2 * block_wire::max_outstanding; ++i) {
    r = {};
    encoder(many).raw(&r, sizeof r);
  }
  auto pair = unix_pair();
  h.server->accepted(std::move(pair.a), from_process("greedy", link_purpose::block));
  raw_socket greedy(std::move(pair.b));
  greedy.write(many);
  CHECK(greedy.read_to_end());
  block_client client(h.key, make_boot_id());
  const auto keys = keys_up_to(1);
  CHECK(client.fetch(h.endpoint(), h.self, keys, nullptr, ample));
}
