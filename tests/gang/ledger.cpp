#include <hydrogen/gang/ledger.hpp>

#include <doctest/doctest.h>

using namespace hydrogen;
using namespace hydrogen::gang;

namespace {

ledger cluster(std::initializer_list<std::uint32_t> slots) {
  ledger l;
  std::uint64_t boot = 0;
  for (const auto n : slots) {
    ++boot;
    l.set(l.add({boot}, std::string("n").append(std::to_string(boot))), n, true, true);
  }
  return l;
}

const attempt_ref a{{{1, 1}, 0, 0, 0}, {{1}, 1}};
const attempt_ref b{{{1, 1}, 0, 0, 0}, {{1}, 2}};

}  // namespace

TEST_CASE("debits and credits are exact, and repeating them changes nothing") {
  auto l = cluster({4, 2});
  l.debit({1}, a, 3);
  l.debit({1}, a, 3);
  CHECK(l.total_free() == 3);
  l.credit({1}, b);
  CHECK(l.total_free() == 3);
  l.credit({1}, a);
  l.credit({1}, a);
  CHECK(l.total_free() == 6);
}

TEST_CASE("a node without list or contact has nothing free but counts in the total") {
  auto l = cluster({4, 2});
  l.set(*l.find({1}), 4, true, false);
  CHECK(l.total_free() == 2);
  CHECK(l.total_slots() == 6);
  l.set(*l.find({1}), 4, false, true);
  CHECK(l.total_free() == 2);
  l.erase({1});
  CHECK(l.total_slots() == 2);
}

TEST_CASE("a gang is packed onto few nodes and neighbours share one") {
  auto l = cluster({2, 4, 3});
  auto one = l.place_gang(3, {});
  REQUIRE(one.size() == 1);
  CHECK(one[0].node == "n3");  // the smallest that holds all: the large one stays whole
  auto two = l.place_gang(6, {});
  REQUIRE(two.size() == 2);
  CHECK(two[0].ranks == std::vector<std::uint32_t>{0, 1, 2, 3});
  CHECK(two[1].ranks == std::vector<std::uint32_t>{4, 5});
  CHECK(two[1].node == "n1");
  CHECK(l.place_gang(10, {}).empty());
}

TEST_CASE("avoided nodes are used only when nothing else fits") {
  auto l = cluster({2, 4, 3});
  for (const auto& m : l.place_gang(5, {"n2"})) CHECK(m.node != "n2");
  CHECK(l.place_gang(6, {"n2"}).size() == 3);
  CHECK(l.place_lease(1, {"n2"}).node == "n3");
  CHECK(l.place_lease(1, {"n1", "n2", "n3"}).slots == 1);
}

TEST_CASE("leases are pieces of a node, so that a recall gets slots back one by one") {
  auto l = cluster({16});
  CHECK(l.place_lease(100, {}).slots == 4);
  CHECK(l.place_lease(2, {}).slots == 2);
  CHECK(cluster({2}).place_lease(100, {}).slots == 1);
}
