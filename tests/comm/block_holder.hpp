#pragma once
// Holders of blocks: true ones, and ones that the test plays.

#include <hydrogen/base/hash.hpp>
#include <hydrogen/comm/block_client.hpp>
#include <hydrogen/comm/block_server.hpp>

#include "wire_support.hpp"

#include <atomic>
#include <map>
#include <thread>

namespace hydrogen::comm::test {

inline block_key key_of(std::uint64_t n) {
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

inline std::vector<block_key> keys_up_to(std::uint64_t n) {
  std::vector<block_key> keys;
  for (std::uint64_t i = 0; i < n; ++i) keys.push_back(key_of(i));
  return keys;
}

inline void check_block(const fetched_block& got, const byte_buffer& sent) {
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

inline block_wire::request next_fetch(raw_socket& s) {
  for (;;) {
    const auto bytes = s.read(sizeof(block_wire::request));
    block_wire::request r;
    if (bytes.size() != sizeof r) return {block_wire::ask::grant, {}, 0, 0, {}};
    std::memcpy(&r, bytes.data(), sizeof r);
    if (r.what == block_wire::ask::fetch) return r;
  }
}

inline byte_buffer answer_with(block_wire::head h, byte_view body, std::uint64_t spoil = 0) {
  byte_buffer out;
  encoder into(out);
  into.raw(&h, sizeof h);
  into.raw(body.data(), body.size());
  const std::uint64_t sum = hash_bytes(out) ^ spoil;
  into.raw(&sum, sizeof sum);
  return out;
}

}  // namespace hydrogen::comm::test
