#include <hydrogen/data/block_store.hpp>

#include <doctest/doctest.h>

using namespace hydrogen;
using namespace hydrogen::data;

namespace {

block_ptr block_of(std::size_t bytes) {
  auto owner = std::make_shared<const byte_buffer>(bytes);
  auto made = std::make_shared<block>();
  made->bytes = *owner;
  made->owner = std::move(owner);
  return made;
}

block_id content(std::uint64_t n) {
  return block_id::content({n, 1});
}
block_id output(std::uint32_t n) {
  return block_id::output({1, 2}, 0, 0, n, 0, 0);
}

}  // namespace

TEST_CASE("above the budget a block is refused with the numbers, and nothing changes") {
  block_store store(100);
  REQUIRE(store.put(output(0), block_of(60)));
  const auto refused = store.put(output(1), block_of(41));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::over_limit);
  CHECK(refused.error().what.find("41 bytes asked for, 60 of 100") != std::string::npos);
  CHECK(store.used() == 60);
  CHECK(store.size() == 1);
  CHECK(store.put(output(0), block_of(100)));  // in its own place
  CHECK(store.drop(output(0)));
  CHECK_FALSE(store.drop(output(0)));
  CHECK(store.used() == 0);
}

TEST_CASE(
    "copies of what is named by content make room for others, the longest unused first, and never what is in use") {
  block_store store(100, block_store::content::copies);
  REQUIRE(store.put(content(1), block_of(30)));
  REQUIRE(store.put(content(2), block_of(30)));
  REQUIRE(store.put(content(3), block_of(30)));
  const auto in_use = store.get(content(2));
  (void)store.get(content(1));
  REQUIRE(store.put(output(0), block_of(40)));  // 3 goes: 1 was used after it, 2 is used
  CHECK(store.get(content(3)) == nullptr);
  CHECK(store.used() == 100);
  REQUIRE(store.put(output(1), block_of(25)));
  CHECK(store.get(content(1)) == nullptr);
  CHECK(store.get(content(2)) != nullptr);
  CHECK(store.used() == 95);
  CHECK_FALSE(store.put(output(2), block_of(10)));  // outputs are never dropped for others
  CHECK(store.get(output(0)) != nullptr);
  CHECK(store.drop_if([](const block_id& id) { return id.is_content(); }) == 1);
  CHECK(store.put(output(2), block_of(10)));
}

TEST_CASE("where content is owned nothing is evicted") {
  block_store store(100);
  REQUIRE(store.put(content(1), block_of(60)));
  CHECK_FALSE(store.put(output(0), block_of(60)));
  CHECK(store.get(content(1)) != nullptr);
}

TEST_CASE("a held block stays until its last handle goes, whoever made it again meanwhile") {
  auto store = std::make_shared<block_store>(1000);
  auto first = *store->hold(content(1), block_of(10));
  auto second = *store->hold(content(1), block_of(10));
  CHECK(store->size() == 1);
  first.reset();
  CHECK(store->get(content(1)) != nullptr);
  second.reset();
  CHECK(store->get(content(1)) == nullptr);
  CHECK(store->used() == 0);
  first = *store->hold(content(1), block_of(10));
  CHECK(store->size() == 1);
  CHECK_FALSE(store->hold(content(2), block_of(2000)));
  CHECK(store->hold(content(2), block_of(20)));  // its handle goes at once
  CHECK(store->size() == 1);
  store.reset();
  first.reset();  // outlives the store
}
