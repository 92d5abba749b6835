#include <hydrogen/data/block_store.hpp>
#include <hydrogen/data/block_writer.hpp>
#include <hydrogen/data/rows.hpp>

#include <doctest/doctest.h>

using namespace hydrogen;
using namespace hydrogen::data;

namespace {

template <class T>
std::vector<block_ptr> blocks_of(const std::vector<T>& values, std::size_t target) {
  std::vector<block_ptr> out;
  block_writer<T> writer(target);
  for (const auto& v : values) {
    writer.put(v);
    if (writer.full()) out.push_back(writer.take());
  }
  if (auto last = writer.take()) out.push_back(std::move(last));
  return out;
}

template <class T>
std::vector<T> walked(const rows<T>& r) {
  std::vector<T> out;
  for (const auto& x : r) out.push_back(x);
  return out;
}

std::vector<std::int64_t> numbers(std::size_t n) {
  std::vector<std::int64_t> v(n);
  for (std::size_t i = 0; i < n; ++i) v[i] = static_cast<std::int64_t>(i * i);
  return v;
}

}  // namespace

TEST_CASE("a block of flat rows is an aligned array of them") {
  const auto v = numbers(5000);
  const auto blocks = blocks_of(v, 4096);
  CHECK(blocks.size() == 10);
  std::size_t n = 0;
  for (const auto& b : blocks) {
    CHECK(reinterpret_cast<std::uintptr_t>(b->bytes.data()) % block_alignment == 0);
    CHECK(b->bytes.size() == b->rows * sizeof(std::int64_t));
    for (const auto x : flat_rows<std::int64_t>(*b)) CHECK(x == v[n++]);
  }
  CHECK(n == v.size());
}

TEST_CASE("rows are walked in order, over empty ranges and many blocks, flat or not") {
  for (const std::size_t n : {0, 1, 511, 512, 513, 4000}) {
    const auto v = numbers(n);
    const rows<std::int64_t> flat(blocks_of(v, 4096));
    CHECK(flat.size() == n);
    CHECK(walked(flat) == v);
    std::vector<std::string> texts;
    for (const auto x : v) texts.push_back(std::to_string(x));
    const rows<std::string> encoded(blocks_of(texts, 4096));
    CHECK(encoded.size() == n);
    CHECK(walked(encoded) == texts);
    CHECK(walked(encoded) == texts);
    const auto all = encoded.contiguous();
    CHECK(std::vector<std::string>(all.begin(), all.end()) == texts);
  }
}

TEST_CASE("blocks of flat rows are seen where they lie; contiguous copies only when there are several") {
  const auto v = numbers(600);
  const auto one = blocks_of(v, 1 << 20);
  const rows<std::int64_t> single(one);
  CHECK(single.contiguous().data() == reinterpret_cast<const std::int64_t*>(one[0]->bytes.data()));
  CHECK(single.blocks().front().data() == single.contiguous().data());
  const rows<std::int64_t> many(blocks_of(v, 4096));
  CHECK(many.blocks().size() == 2);
  const auto all = many.contiguous();
  CHECK(std::vector<std::int64_t>(all.begin(), all.end()) == v);
  CHECK(many.contiguous().data() == all.data());
  const rows<std::int64_t> given(v);
  CHECK(walked(given) == v);
}

TEST_CASE("a block of another type is refused, and a damaged one too") {
  const auto blocks = blocks_of(numbers(3), 4096);
  CHECK_THROWS_AS(rows<double>{blocks}, failure);
  const auto texts = blocks_of<std::string>({"a", "b"}, 4096);
  const rows<std::string> good(texts);
  block broken = *texts[0];
  broken.bytes = broken.bytes.first(broken.bytes.size() - 1);
  const rows<std::string> bad(std::vector<block_ptr>{std::make_shared<const block>(broken)});
  CHECK_THROWS_AS(bad.contiguous(), failure);
  CHECK_THROWS_AS(walked(bad), failure);
}

TEST_CASE("a row larger than a block gets a block of its own") {
  const std::vector<std::string> texts{"a", std::string(5'000'000, 'x'), "b"};
  const auto blocks = blocks_of(texts, max_block_bytes);
  CHECK(blocks.size() == 2);
  CHECK(walked(rows<std::string>(blocks)) == texts);
}

TEST_CASE("the block store keeps, gives, replaces and drops, and counts its bytes") {
  block_store store(10'000);
  const auto id = [](std::uint32_t k) { return block_id::output({1, 2}, 3, 4, k, 0, 0); };
  const auto bytes = [](std::size_t n) { return copy_to_block(byte_buffer(n), n, 1, layout::flat); };
  REQUIRE(store.put(id(1), bytes(4000)));
  REQUIRE(store.put(id(2), bytes(6000)));
  CHECK(store.used() == 10'000);
  const auto refused = store.put(id(3), bytes(1));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::over_limit);
  CHECK(refused.error().what.find("1 bytes asked for, 10000 of 10000 bytes in use") != std::string::npos);
  CHECK(store.get(id(3)) == nullptr);
  REQUIRE(store.put(id(1), bytes(3000)));
  CHECK(store.used() == 9000);
  const auto held = store.get(id(2));
  CHECK(store.drop(id(2)));
  CHECK_FALSE(store.drop(id(2)));
  CHECK(store.get(id(2)) == nullptr);
  CHECK(held->bytes.size() == 6000);
  CHECK(store.used() == 3000);
  REQUIRE(store.put(id(5), bytes(10)));
  CHECK(store.drop_if([&](const block_id& b) { return b.partition == 1; }) == 1);
  CHECK(store.size() == 1);
  CHECK(store.used() == 10);
}

TEST_CASE("a description carries a small block through a message, aligned; a truncated one is refused") {
  block_writer<std::int64_t> writer;
  for (std::int64_t i = 0; i < 10; ++i) writer.put(i);
  block_info info;
  info.here = writer.take();
  info.rows = 10;
  info.bytes = info.here->bytes.size();
  info.type_code = info.here->type_code;
  auto message = encode(info);
  auto got = decode<block_info>(message);
  REQUIRE(got);
  REQUIRE(got->here);
  CHECK(*got == info);
  CHECK(reinterpret_cast<std::uintptr_t>(got->here->bytes.data()) % block_alignment == 0);
  std::int64_t n = 0;
  for (const auto x : flat_rows<std::int64_t>(*got->here)) CHECK(x == n++);
  CHECK(n == 10);
  info.bytes = 79;  // what travels counts
  CHECK(decode<block_info>(encode(info))->bytes == 80);
  message.pop_back();
  CHECK_FALSE(decode<block_info>(message));
}
