#include <hydrogen/gang/ledger.hpp>

#include <doctest/doctest.h>

using namespace hydrogen;
using namespace hydrogen::gang;

namespace {

struct cluster : ledger {
  cluster(std::initializer_list<node_size> nodes) {
    std::uint64_t boot = 0;
    for (const auto& size : nodes) {
      ++boot;
      auto& node = add({boot}, std::string("n").append(std::to_string(boot)));
      resize(node, size);
      set(node, true, true);
    }
  }
  std::vector<member> place(std::uint32_t slots, const demand& needs = {}, const std::set<std::string>& avoid = {}) {
    return place_gang(slots, slots, needs, avoid);
  }
};

node_size node_of(std::uint32_t slots, std::uint32_t gpus = 0, std::uint64_t memory = 0,
                  std::vector<std::string> labels = {}) {
  node_size n{slots, {memory, {}}, std::move(labels)};
  if (gpus > 0) n.has.devices.push_back({"gpu", gpus});
  return n;
}

std::string where(const std::vector<member>& members) {
  std::string text;
  for (const auto& m : members) text += (text.empty() ? "" : " ") + m.node + ":" + std::to_string(m.slots);
  return text;
}

const attempt_ref a{{{1, 1}, 0, 0, 0}, {{1}, 1}};
const attempt_ref b{{{1, 1}, 0, 0, 0}, {{1}, 2}};

}  // namespace

TEST_CASE("debits and credits are exact, and repeating them changes nothing") {
  cluster l{node_of(4), node_of(2)};
  l.debit({1}, a, 3, {});
  l.debit({1}, a, 3, {});
  CHECK(l.total_free() == 3);
  l.returns({1}, a);
  l.returns({1}, a);
  l.returns({1}, b);
  CHECK(l.total_returning() == 3);
  l.credit({1}, b);
  CHECK(l.total_free() == 3);
  l.credit({1}, a);
  l.credit({1}, a);
  CHECK(l.total_free() == 6);
  CHECK(l.total_returning() == 0);
}

TEST_CASE("a node without list or contact, or that is drained, has nothing free but counts in the total") {
  cluster l{node_of(4), node_of(2)};
  l.set(*l.find({1}), true, false);
  CHECK(l.total_free() == 2);
  CHECK(l.total_slots() == 6);
  l.set(*l.find({1}), false, true);
  CHECK(l.total_free() == 2);
  l.set(*l.find({1}), true, true);
  l.drain(*l.find({1}), true);
  CHECK(l.total_free() == 2);
  CHECK(l.place(3).empty());
  l.drain(*l.find({1}), false);
  CHECK(where(l.place(3)) == "n1:3");
  l.debit({1}, a, 3, {});
  l.returns({1}, a);
  l.erase({1});
  CHECK(l.total_slots() == 2);
  CHECK(l.total_returning() == 0);
}

TEST_CASE("a gang is packed onto few nodes and neighbours share one") {
  cluster l{node_of(2), node_of(4), node_of(3)};
  CHECK(where(l.place(3)) == "n3:3");  // the smallest that holds all: the large one stays whole
  const auto two = l.place(6);
  CHECK(where(two) == "n2:4 n1:2");
  CHECK(two[0].ranks == std::vector<std::uint32_t>{0, 1, 2, 3});
  CHECK(two[1].ranks == std::vector<std::uint32_t>{4, 5});
  CHECK(l.place(10).empty());
}

TEST_CASE("what is packed with nodes to avoid, or with demands, is packed in the same way") {
  cluster l{node_of(2), node_of(4), node_of(3), node_of(3)};
  const demand memory{{1, {}}, {}, placement::pack};
  CHECK(l.place(3, memory).empty());  // no node has any
  const demand none{{0, {{"gpu", 0}}}, {}, placement::pack};
  for (std::uint32_t slots = 1; slots <= 12; ++slots) {
    CHECK(where(l.place(slots)) == where(l.place(slots, none)));
    CHECK(where(l.place(slots)) == where(l.place(slots, {}, {"elsewhere"})));
  }
}

TEST_CASE("a gang that is spread lies evenly on as many nodes as there are") {
  cluster l{node_of(2), node_of(4), node_of(3)};
  const demand spread{{}, {}, placement::spread};
  CHECK(where(l.place(3, spread)) == "n2:1 n3:1 n1:1");
  CHECK(where(l.place(7, spread)) == "n2:3 n3:2 n1:2");
  CHECK(where(l.place(9, spread)) == "n2:4 n3:3 n1:2");
  CHECK(where(l.place(2, spread)) == "n2:1 n3:1");
  CHECK(l.place(10, spread).empty());
  CHECK(l.place(7, spread)[1].ranks == std::vector<std::uint32_t>{3, 4});
}

TEST_CASE("a gang for one node takes the smallest that holds it, and does not fit on several") {
  cluster l{node_of(2), node_of(4), node_of(3)};
  const demand one{{}, {}, placement::one_node};
  CHECK(where(l.place(3, one)) == "n3:3");
  CHECK(where(l.place(4, one)) == "n2:4");
  CHECK(l.place(5, one).empty());
  CHECK(l.fits(4, one));
  CHECK_FALSE(l.fits(5, one));
  CHECK(where(l.place(2, one, {"n1"})) == "n3:2");
  CHECK(where(l.place(4, one, {"n2"})) == "n2:4");      // nothing else holds it
  CHECK(where(l.place_gang(2, 9, one, {})) == "n2:4");  // elastic: the largest
  CHECK(where(l.place_gang(2, 3, one, {})) == "n3:3");
}

TEST_CASE("an elastic gang is as wide as there are slots, between its least and its most") {
  cluster l{node_of(2), node_of(4)};
  CHECK(where(l.place_gang(2, 5, {}, {})) == "n2:4 n1:1");
  CHECK(where(l.place_gang(2, 50, {}, {})) == "n2:4 n1:2");
  CHECK(l.place_gang(7, 50, {}, {}).empty());
  CHECK(where(l.place_gang(2, 6, {}, {"n2"})) == "n1:2");  // what it avoids is only for the least
}

TEST_CASE("slots with devices, memory and labels lie where those are, and no device is given twice") {
  cluster l{node_of(8, 2, 64), node_of(8, 4, 16, {"zone=a", "ssd"}), node_of(8)};
  const demand gpu{{0, {{"gpu", 1}}}, {}, placement::pack};
  const demand heavy{{8, {{"gpu", 1}}}, {}, placement::pack};
  CHECK(where(l.place(5, gpu)) == "n2:4 n1:1");
  CHECK(l.place(7, gpu).empty());
  CHECK(where(l.place(4, heavy)) == "n1:2 n2:2");
  CHECK_FALSE(l.fits(5, heavy));
  CHECK(where(l.place(2, {{}, {"ssd"}, placement::pack})) == "n2:2");
  CHECK(where(l.place(2, {{}, {"ssd", "zone=a"}, placement::pack})) == "n2:2");
  CHECK(l.place(2, {{}, {"zone=b"}, placement::pack}).empty());
  l.debit({2}, a, 3, gpu.each);
  CHECK(where(l.place(3, gpu)) == "n1:2 n2:1");
  CHECK(l.place(4, gpu).empty());
  CHECK(l.find({2})->room({}) == 5);  // slots without a device are left
  l.credit({2}, a);
  CHECK(l.fits(6, gpu));
  CHECK(l.place_lease(10, gpu, {}).node == "n2");
  CHECK(l.place_lease(10, {{0, {{"tpu", 1}}}, {}, placement::pack}, {}).slots == 0);
}

TEST_CASE("avoided nodes are used only when nothing else fits, banned ones never") {
  cluster l{node_of(2), node_of(4), node_of(3)};
  CHECK(where(l.place(5, {}, {"n2"})) == "n3:3 n1:2");
  CHECK(l.place(6, {}, {"n2"}).size() == 3);
  CHECK(l.place_lease(1, {}, {"n2"}).node == "n3");
  CHECK(l.place_lease(1, {}, {"n1", "n2", "n3"}).slots == 1);
  const auto second = [](const ledger_node& n) { return n.name == "n2"; };
  CHECK(l.place_gang(6, 6, {}, {}, second).empty());
  CHECK(where(l.place_gang(5, 5, {}, {}, second)) == "n3:3 n1:2");
  CHECK(l.place_lease(1, {}, {"n1", "n3"}, second).node == "n3");
}

TEST_CASE("leases are pieces of a node, so that a recall gets slots back one by one") {
  cluster l{node_of(16)};
  CHECK(l.place_lease(100, {}, {}).slots == 4);
  CHECK(l.place_lease(2, {}, {}).slots == 2);
  cluster small{node_of(2)};
  CHECK(small.place_lease(100, {}, {}).slots == 1);
}
