// Fetching blocks from a holder that is well.

#include "block_holder.hpp"
#include <doctest/doctest.h>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::test;

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
