#include <hydrogen/base/random.hpp>
#include <hydrogen/exec/key_table.hpp>

#include <doctest/doctest.h>

#include <map>

using namespace hydrogen;
using namespace hydrogen::exec;

namespace {

struct padded {
  std::uint8_t a;
  std::uint32_t b;
  auto operator<=>(const padded&) const = default;
};

/// Random keys against std::map, values joined so that order shows.
template <class K, class Make>
void same_as_map(std::uint64_t seed, std::size_t rounds, Make&& make) {
  random_source random(seed);
  key_table<K, std::string> table;
  std::map<K, std::string> want;
  std::vector<K> order;
  const auto join = [](std::string a, const std::string& b) { return a + "," + b; };
  for (std::size_t i = 0; i < rounds; ++i) {
    const K key = make(random);
    const auto value = std::to_string(i);
    table.add(table.look(key), value, join);
    const auto [at, fresh] = want.try_emplace(key, value);
    if (fresh)
      order.push_back(key);
    else
      at->second += "," + value;
  }
  REQUIRE(table.size() == want.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    CHECK(K(key_table<K, std::string>::key_of(table.entries()[i])) == order[i]);
    CHECK(table.entries()[i].value == want[order[i]]);
  }
}

}  // namespace

TEST_CASE("keys of every kind are combined in order and listed by first arrival") {
  same_as_map<std::int64_t>(1, 20'000, [](random_source& r) { return static_cast<std::int64_t>(r.below(5000)); });
  same_as_map<std::uint8_t>(2, 2000, [](random_source& r) { return static_cast<std::uint8_t>(r()); });
  same_as_map<std::pair<int, std::int64_t>>(3, 3000, [](random_source& r) {
    return std::pair(static_cast<int>(r.below(20)), static_cast<std::int64_t>(r.below(20)));
  });
  same_as_map<padded>(4, 3000, [](random_source& r) {
    return padded{static_cast<std::uint8_t>(r.below(9)), static_cast<std::uint32_t>(r.below(9))};
  });
  same_as_map<std::string>(5, 20'000, [](random_source& r) {
    std::string s(r.below(40), ' ');
    for (auto& c : s) c = static_cast<char>(r.below(2));
    return s;
  });
  same_as_map<std::vector<int>>(
      6, 3000, [](random_source& r) { return std::vector<int>(r.below(3), static_cast<int>(r.below(30))); });
}

TEST_CASE("text of any length is told apart from its neighbours") {
  key_table<std::string, int> table;
  const auto add = [](int a, int b) { return a + b; };
  int keys = 0;
  for (std::size_t n = 0; n < 70; ++n) {
    for (std::size_t at = 0; at < std::max<std::size_t>(n, 1); ++at) {
      std::string s(n, 'a');
      if (n > 0) s[at] = 'b';
      for (int k = 0; k < 2; ++k) table.add(table.look(s), 1, add);
      ++keys;
    }
  }
  CHECK(table.size() == static_cast<std::size_t>(keys));
  for (const auto& e : table.entries()) CHECK(e.value == 2);
}

TEST_CASE("a cleared table is empty and can be used again") {
  key_table<std::string, int> table;
  const auto add = [](int a, int b) { return a + b; };
  for (int i = 0; i < 3000; ++i) table.add(table.look(std::to_string(i)), 1, add);
  table.clear();
  CHECK(table.size() == 0);
  table.add(table.look("7"), 5, add);
  CHECK(table.entries()[0].value == 5);
}
