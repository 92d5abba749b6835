// What slots need together, and which demands make no sense.
#include <hydrogen/base/resources.hpp>

#include <doctest/doctest.h>

using namespace hydrogen;

TEST_CASE("two demands together are the larger of each need, and all labels") {
  const demand a{{100, {{"gpu", 1, 4}, {"tpu", 2}}}, {"ssd"}, placement::pack};
  const demand b{{50, {{"gpu", 1, 2}, {"fpga", 1}}}, {"zone=a", "ssd"}, placement::pack};
  const demand together{{100, {{"gpu", 1, 2}, {"tpu", 2}, {"fpga", 1}}}, {"ssd", "zone=a"}, placement::pack};
  CHECK(both(a, b) == together);
  CHECK(both({}, a) == a);
  CHECK(both(a, {}) == a);
  // A half each is more than three of eight.
  CHECK(both(demand{{0, {{"gpu", 3, 8}}}, {}, {}}, demand{{0, {{"gpu", 1, 2}}}, {}, {}}).each.devices[0].count == 1);
}

TEST_CASE("a demand that makes no sense says why") {
  const auto problem = [](std::vector<device_count> devices) {
    return problem_of({{0, std::move(devices)}, {}, placement::pack});
  };
  CHECK(problem({}).empty());
  CHECK(problem({{"gpu", 2, 4}, {"tpu", 1}}).empty());
  CHECK(problem({{"", 1}}) == "devices without a kind");
  CHECK(problem({{"gpu", 0}}) == "0 devices of the kind gpu");
  CHECK(problem({{"gpu", 1, 0}}) == "devices of the kind gpu shared by 0 slots");
  CHECK(problem({{"gpu", 1}, {"gpu", 2}}) == "devices of the kind gpu are asked for twice");
}
