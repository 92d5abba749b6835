#include <hydrogen/base/hash.hpp>
#include <hydrogen/comm/block_client.hpp>
#include <hydrogen/comm/block_server.hpp>

#include "wire_support.hpp"
#include <doctest/doctest.h>
#include <xxhash.h>

#include <atomic>
#include <map>
#include <thread>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::test;

namespace {

block_key key_of(std::uint64_t n) {
  block_key k{};
  std::memcpy(k.data(), &n, sizeof n);
  return k;
}

/// A holder: its blocks by number, an acceptor, a server.
struct holder {
  secret key = secret::random();
  boot_id self = make_boot_id();
  std::map<block_key, std::shared_ptr<byte_buffer>> blocks;
  std::unique_ptr<block_server> server;
  std::unique_ptr<acceptor> a;

  explicit holder(const secret& s = secret::random()) : key(s) {
    server = std::make_unique<block_server>([this](const block_key& k) { return find(k); });
    auto made = acceptor::listen("127.0.0.1:0", key, self,
                                 [this](unique_fd fd, hello h) { server->accepted(std::move(fd), std::move(h)); });
    REQUIRE(made);
    a = std::move(*made);
  }
  ~holder() { a.reset(); }

  void add(std::uint64_t n, byte_buffer bytes) { blocks[key_of(n)] = std::make_shared<byte_buffer>(std::move(bytes)); }
  expected<served_block> find(const block_key& k) const {
    const auto found = blocks.find(k);
    if (found == blocks.end()) return fail(errc::not_found, "no such block");
    const auto& b = found->second;
    return served_block{b, *b, b->size() / 8, 77, 1, static_cast<std::uint32_t>(b->size() % 1000)};
  }
  const std::string& endpoint() const { return a->endpoint(); }
};

std::vector<block_key> keys_up_to(std::uint64_t n) {
  std::vector<block_key> keys;
  for (std::uint64_t i = 0; i < n; ++i) keys.push_back(key_of(i));
  return keys;
}

void check_block(const fetched_block& got, const byte_buffer& sent) {
  CHECK(got.size == sent.size());
  CHECK(got.rows == sent.size() / 8);
  CHECK(got.type_code == 77);
  CHECK(got.layout == 1);
  CHECK(got.extra == sent.size() % 1000);
  CHECK(reinterpret_cast<std::uintptr_t>(got.memory.get()) % 64 == 0);
  CHECK(std::equal(got.bytes().begin(), got.bytes().end(), sent.begin(), sent.end()));
}

/// A listener with the right secret whose block links the test plays on threads.
struct false_holder {
  secret key = secret::random();
  boot_id self = make_boot_id();
  std::atomic<int> links{0};
  std::vector<std::thread> threads;
  std::unique_ptr<acceptor> a;

  explicit false_holder(std::function<void(int, raw_socket&)> play) {
    a = std::move(acceptor::listen("127.0.0.1:0", key, self, [this, play](unique_fd fd, hello) {
                    threads.emplace_back([this, play, fd = std::move(fd)]() mutable {
                      raw_socket s(std::move(fd));
                      play(++links, s);
                    });
                  }).value());
  }
  ~false_holder() {
    a.reset();
    for (auto& t : threads) t.join();
  }
};

block_wire::request next_fetch(raw_socket& s) {
  for (;;) {
    const auto bytes = s.read(sizeof(block_wire::request));
    block_wire::request r;
    if (bytes.size() != sizeof r) return {block_wire::ask::grant, {}, 0, 0, {}};
    std::memcpy(&r, bytes.data(), sizeof r);
    if (r.what == block_wire::ask::fetch) return r;
  }
}

byte_buffer answer_with(block_wire::head h, byte_view body, std::uint64_t spoil = 0) {
  byte_buffer out;
  encoder into(out);
  into.raw(&h, sizeof h);
  into.raw(body.data(), body.size());
  const std::uint64_t sum = hash_bytes(out) ^ spoil;
  into.raw(&sum, sizeof sum);
  return out;
}

}  // namespace

// The thread sanitizer makes bulk slow and gains nothing from it.
#if defined(__SANITIZE_THREAD__)
constexpr std::size_t large = std::size_t{8} << 20;
constexpr int fetches_per_slot = 300;
#else
constexpr std::size_t large = std::size_t{100} << 20;
constexpr int fetches_per_slot = 2000;
#endif

TEST_CASE("blocks of nothing, one byte and 100 MiB arrive as they are") {
  holder h;
  random_source random(seed());
  h.add(0, {});
  h.add(1, {std::byte{42}});
  h.add(2, random_bytes(random, large));
  h.add(3, random_bytes(random, 12345));
  block_client client(h.key, make_boot_id());
  const auto keys = keys_up_to(4);
  const auto got = client.fetch(h.endpoint(), h.self, keys, nullptr, ample);
  REQUIRE(got);
  REQUIRE(got->size() == 4);
  for (std::size_t i = 0; i < 4; ++i) check_block((*got)[i], *h.blocks[keys[i]]);
}

TEST_CASE("thousands of blocks of random sizes come in the order of the keys, by several threads at once") {
  holder h;
  const auto s = seed();
  CAPTURE(s);
  random_source random(s);
  for (std::uint64_t i = 0; i < 500; ++i)
    h.add(i, random_bytes(random, random.below(random.chance(0.05) ? 400'000 : 3000)));
  block_client client(h.key, make_boot_id(), {"receiver", {}, 100'000, std::uint64_t{1} << 30, 4});
  std::atomic<int> wrong{0};
  std::atomic<int> right{0};
  std::vector<std::thread> slots;
  for (int t = 0; t < 3; ++t) {
    slots.emplace_back([&, t] {
      random_source mine(s + static_cast<std::uint64_t>(t) + 1);
      std::vector<block_key> keys;
      for (int i = 0; i < fetches_per_slot; ++i) keys.push_back(key_of(mine.below(500)));
      std::size_t expected_index = 0;
      const auto done = client.fetch(
          h.endpoint(), h.self, keys,
          [&](std::size_t index, fetched_block b) -> expected<void> {
            const auto& sent = *h.blocks.at(keys[index]);
            if (index != expected_index++ || b.size != sent.size() ||
                !std::equal(sent.begin(), sent.end(), b.bytes().begin()))
              ++wrong;
            return {};
          },
          nullptr, ample);
      if (done && expected_index == keys.size()) ++right;
    });
  }
  for (auto& t : slots) t.join();
  CHECK(wrong == 0);
  CHECK(right == 3);
}

TEST_CASE("a holder never sends more than was granted") {
  holder h;
  random_source random(seed());
  constexpr std::uint64_t window = 64 << 10;
  for (std::uint64_t i = 0; i < 100; ++i) h.add(i, random_bytes(random, i % 10 == 9 ? 300'000 : 20'000));
  block_client client(h.key, make_boot_id(), {"receiver", {}, window, std::uint64_t{1} << 30, 4});
  const auto keys = keys_up_to(100);
  std::uint64_t announced = 0;
  const auto done = client.fetch(
      h.endpoint(), h.self, keys,
      [&](std::size_t, fetched_block b) -> expected<void> {
        announced += b.size;
        CHECK(h.server->bytes_served() <= announced + window);
        return {};
      },
      nullptr, ample);
  CHECK(done);
}

TEST_CASE("a block that is not there is named by its index, and the next fetch works") {
  holder h;
  for (std::uint64_t i = 0; i < 10; ++i) h.add(i, byte_buffer(1000));
  h.blocks.erase(key_of(7));
  block_client client(h.key, make_boot_id());
  const auto keys = keys_up_to(10);
  std::size_t seen = 0;
  const auto done = client.fetch(
      h.endpoint(), h.self, keys,
      [&](std::size_t, fetched_block) -> expected<void> {
        ++seen;
        return {};
      },
      nullptr, ample);
  REQUIRE_FALSE(done);
  CHECK(done.error().code == errc::not_found);
  CHECK(done.error().what.find("block 7 of 10") == 0);
  CHECK(done.error().what.find("no such block") != std::string::npos);
  CHECK(done.error().where == h.endpoint());
  CHECK(seen == 7);
  CHECK(client.fetch(h.endpoint(), h.self, std::span(keys).first(7), nullptr, ample));
}

TEST_CASE("connections are kept and used again") {
  holder h;
  h.add(0, byte_buffer(100'000, std::byte{1}));
  block_client client(h.key, make_boot_id());
  const auto keys = keys_up_to(1);
  for (int i = 0; i < 20; ++i) REQUIRE(client.fetch(h.endpoint(), h.self, keys, nullptr, ample));
  CHECK(h.a->accepted() == 1);
  client.forget(h.self);
  REQUIRE(client.fetch(h.endpoint(), h.self, keys, nullptr, ample));
  CHECK(h.a->accepted() == 2);
}

TEST_CASE("fetching nothing needs no peer") {
  block_client client(secret::random(), make_boot_id());
  const auto got = client.fetch("127.0.0.1:1", make_boot_id(), {}, nullptr, ample);
  REQUIRE(got);
  CHECK(got->empty());
}

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
