#include <hydrogen/base/ids.hpp>
#include <hydrogen/base/random.hpp>
#include <hydrogen/comm/element.hpp>

#include "reference.hpp"
#include <doctest/doctest.h>

#include <cstring>
#include <vector>

using namespace hydrogen;
using namespace hydrogen::comm;

namespace {

/// The order as the documentation defines it, one element at a time.
template <class T, class Op>
T plain_tree(const std::vector<T>& x, std::size_t from, std::size_t n, Op op) {
  if (n == 1) return x[from];
  std::size_t half = 1;
  while (half * 2 < n) half *= 2;
  return op(plain_tree(x, from, half, op), plain_tree(x, from + half, n - half, op));
}

template <class T>
void check_order(reduction how, auto op, std::uint64_t seed) {
  for (std::size_t ranks = 1; ranks <= 20; ++ranks) {
    for (const std::size_t count : {0u, 1u, 7u, 1024u, 2500u}) {
      std::vector<std::vector<T>> data;
      for (std::size_t r = 0; r < ranks; ++r) data.push_back(testing::values<T>(hash_mix(seed + count, r), count));
      std::vector<const std::byte*> sources;
      for (auto& row : data) sources.push_back(reinterpret_cast<const std::byte*>(row.data()));
      std::vector<T> wanted(count);
      for (std::size_t i = 0; i < count; ++i) {
        std::vector<T> column;
        for (auto& row : data) column.push_back(row[i]);
        wanted[i] = plain_tree(column, 0, ranks, op);
        if (how == reduction::mean) wanted[i] /= static_cast<T>(ranks);
      }
      // Into a buffer of its own and into all sources.
      std::vector<T> out(count), streamed(count);
      std::vector<std::byte*> destinations{reinterpret_cast<std::byte*>(out.data())};
      for (auto& row : data) destinations.push_back(reinterpret_cast<std::byte*>(row.data()));
      combine(element_of<T>, how, sources, count, destinations, {}, reinterpret_cast<std::byte*>(streamed.data()));
      const auto same = [&](const std::vector<T>& got) {
        return count == 0 || std::memcmp(got.data(), wanted.data(), count * sizeof(T)) == 0;
      };
      CAPTURE(seed);
      CAPTURE(ranks);
      CAPTURE(count);
      CHECK(same(out));
      CHECK(same(streamed));
      for (auto& row : data) CHECK(same(row));
    }
  }
}

}  // namespace

TEST_CASE("contributions are combined in the order of one binary tree over ranks") {
  const auto add = [](auto a, auto b) { return a + b; };
  const auto add_wrapping = [](std::int32_t a, std::int32_t b) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
  };
  check_order<float>(reduction::sum, add, 1);
  check_order<double>(reduction::sum, add, 2);
  check_order<std::int64_t>(reduction::sum, add, 3);
  check_order<float>(reduction::mean, add, 4);
  check_order<double>(reduction::mean, add, 5);
  check_order<std::int32_t>(reduction::sum, add_wrapping, 10);
}

TEST_CASE("products are made in the same order") {
  const auto multiply = [](auto a, auto b) { return a * b; };
  check_order<double>(reduction::product, multiply, 11);
}

TEST_CASE("numbers of 16 bits are combined as float, and rounded once") {
  for (std::size_t ranks = 1; ranks <= 9; ++ranks) {
    std::vector<std::vector<half>> all;
    for (std::size_t r = 0; r < ranks; ++r) all.push_back(testing::values<half>(r + 1, 3000));
    for (const auto how : {reduction::sum, reduction::mean, reduction::product, reduction::max}) {
      std::vector<const std::byte*> sources;
      for (const auto& x : all) sources.push_back(reinterpret_cast<const std::byte*>(x.data()));
      std::vector<half> out(3000);
      auto* to = reinterpret_cast<std::byte*>(out.data());
      combine(element::float16, how, sources, 3000, {&to, 1});
      CHECK(testing::same_bits(out, testing::reduced(all, how)));
    }
  }
  // Each step alone would round to 2048.
  const std::vector<half> large{half(2048.0f)}, one{half(1.0f)};
  std::vector<half> sum(1);
  const std::byte* sources[] = {reinterpret_cast<const std::byte*>(large.data()),
                                reinterpret_cast<const std::byte*>(one.data()),
                                reinterpret_cast<const std::byte*>(one.data())};
  auto* to = reinterpret_cast<std::byte*>(sum.data());
  combine(element::float16, reduction::sum, sources, 1, {&to, 1});
  CHECK(static_cast<float>(sum[0]) == 2050.0f);
}

TEST_CASE("min and max keep the first of equals") {
  const auto least = [](auto a, auto b) { return b < a ? b : a; };
  const auto most = [](auto a, auto b) { return b > a ? b : a; };
  check_order<float>(reduction::min, least, 6);
  check_order<double>(reduction::max, most, 7);
  check_order<std::int64_t>(reduction::min, least, 8);
  check_order<std::int64_t>(reduction::max, most, 9);
}

TEST_CASE("the order matters for the values of these tests") {
  const std::vector<float> x{1e8f, 1.0f, -1e8f, 1.0f};
  CHECK(((x[0] + x[1]) + (x[2] + x[3])) != (((x[0] + x[2]) + x[1]) + x[3]));
}

TEST_CASE("integer sums wrap") {
  std::int64_t a = INT64_MAX;
  std::int64_t b = 1;
  const std::byte* sources[] = {reinterpret_cast<std::byte*>(&a), reinterpret_cast<std::byte*>(&b)};
  std::int64_t out = 0;
  std::byte* to[] = {reinterpret_cast<std::byte*>(&out)};
  combine(element::int64, reduction::sum, sources, 1, to);
  CHECK(out == INT64_MIN);
}
