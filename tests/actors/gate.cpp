// The gate of an executor: who may pass when.

#include <hydrogen/actors/task.hpp>

#include <doctest/doctest.h>

using namespace hydrogen;
using actors::gang_gate;

namespace {

/// Ranks 0 and 1 live in executor 7, rank 2 elsewhere.
exec::join_gang three_ranks() {
  exec::join_gang what;
  what.members = std::vector<comm::gang_member>{{0, {7}, "h:1", "n1"}, {1, {7}, "h:1", "n1"}, {2, {8}, "h:2", "n2"}};
  return what;
}

}  // namespace

TEST_CASE("a gate knows which ranks of its gang live here") {
  const gang_gate here(three_ranks(), {7});
  CHECK(here.ranks_here == 2);
  CHECK_FALSE(here.in_process);
  CHECK(here.on_host);
  CHECK(gang_gate(three_ranks(), {9}).ranks_here == 0);
  auto two = three_ranks();
  two.members = std::vector<comm::gang_member>(two.members.begin(), two.members.begin() + 2);
  CHECK(gang_gate(two, {7}).in_process);
  CHECK_FALSE(gang_gate(two, {7}).on_host);
  auto far = three_ranks();
  far.members = std::vector<comm::gang_member>{{0, {7}, "h:1", "n1"}, {1, {8}, "g:1", "n2"}};
  CHECK_FALSE(gang_gate(far, {7}).on_host);
  // Another executor of the same process.
  auto embedded = three_ranks();
  embedded.members = std::vector<comm::gang_member>{{0, {7}, "h:1", "n1"}, {1, {8}, "h:1", "n2"}};
  CHECK(gang_gate(embedded, {7}).in_process);
  CHECK(gang_gate(embedded, {7}).ranks_here == 1);
}

TEST_CASE("a permission opens only gates at which all ranks of the gang wait; enter opens every one, each once") {
  for (const bool rank_first : {true, false}) {
    CAPTURE(rank_first);
    gang_gate gate(three_ranks(), {7});
    int of_all = 0, of_one = 0;
    const auto come = [&] {
      gate.add([&] { ++of_all; }, true);
      gate.add([&] { ++of_one; }, false);
    };
    if (rank_first) come();
    gate.permit();
    if (!rank_first) come();
    CHECK(of_all == 1);
    CHECK(of_one == 0);  // its peers are reached by links: who has joined is not known here
    gate.enter();
    gate.enter();
    CHECK(of_all == 1);
    CHECK(of_one == 1);
    come();
    CHECK(of_all == 2);
    CHECK(of_one == 2);
  }
}
