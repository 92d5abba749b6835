// What the queue says is done: priorities, evictions, elastic gangs, demands, limits, draining.

#include "desk.hpp"

namespace hydrogen::gang::testing::at_desk {
namespace {

slot_request wants(std::uint32_t stage, std::uint32_t least, std::uint32_t most, std::int32_t priority = 0,
                   demand needs = {}) {
  slot_request r;
  r.id = desk::id(stage);
  r.kind = request_kind::gang;
  r.least = least;
  r.most = most;
  r.app = app;
  r.label = std::string("stage ").append(std::to_string(stage));
  r.priority = priority;
  r.needs = std::move(needs);
  return r;
}

error drain(desk& d, const std::string& node, bool on = true) {
  d.on(event::drain{7, node, on});
  REQUIRE_FALSE(d.drained.empty());
  CHECK(d.drained.back().ticket == 7);
  return d.drained.back().problem;
}

}  // namespace

TEST_CASE("a gang that is evicted burns no retry, and runs again when it is its turn") {
  desk d({4});
  d.job(admit{wants(0, 3, 3)});
  const auto first = d.last<placed>().attempt;
  d.job(admit{wants(1, 2, 2, 5)});
  CHECK(d.last<ended>().request == d.id(0));
  CHECK(d.last<ended>().cause == end_cause::gave_way);
  CHECK_FALSE(d.last<ended>().burnt);
  CHECK(d.last<ended>().detail == "it gives way to stage 1, which has priority 5");
  CHECK(d.status(1).state == "running");
  d.decide(0, first, 1, decision_kind::again);
  CHECK(d.status(0).state == "queued");
  CHECK(d.status(0).reason == "needs 3 slots, 2 free");
  d.decide(1, d.last<placed>().attempt, 1, decision_kind::release);
  CHECK(d.status(0).state == "running");
  CHECK(d.all<ended>().size() == 1);
}

TEST_CASE("a gang that has run once evicts nobody, also after a restart of the coordinator") {
  desk d({2}, {.expected_nodes = 1});
  d.job(admit{wants(0, 2, 2, 1)});
  d.decide(0, d.last<placed>().attempt, 1, decision_kind::fail);
  d.job(admit{wants(1, 2, 2, 0)});
  REQUIRE(d.status(1).state == "running");
  d.decide(0, d.all<placed>()[0].attempt, 2, decision_kind::again);
  CHECK(d.status(0).state == "queued");
  CHECK(d.status(1).state == "running");
  const auto go = d.last<placed>();
  d.restart();
  d.begin();
  d.job(admit{wants(0, 2, 2, 1)});
  d.job(admit{wants(1, 2, 2, 0)});
  entry_report held{{go.request, go.attempt}, request_kind::gang, entry_state::running, 2, true, {1100}, {}};
  d.agent(enlist{{100}, "n100", 2, 1, d.machine->term(), {held}, {}});
  d.wait(1s);
  CHECK(d.status(1).state == "running");
  CHECK(d.status(0).state == "queued");
}

TEST_CASE("an elastic gang runs with what is free, and its Go names so many ranks") {
  desk d({4});
  d.job(admit{wants(0, 1, 1)});
  d.job(admit{wants(1, 2, 8)});
  CHECK(d.status(1).state == "running");
  CHECK(d.status(1).held == 3);
  CHECK(d.last<placed>().members.front().ranks == std::vector<std::uint32_t>{0, 1, 2});
  d.job(admit{wants(2, 5, 8)});
  CHECK(d.last<denied>().request == d.id(2));
  CHECK(d.last<denied>().why.what == "needs 5 slots at once, the cluster has 4 on 1 node");
}

TEST_CASE("a request says which slots it lacks, and one that no node has is denied with what would fit") {
  desk d({4, 4}, {.expected_nodes = 2});
  demand gpu;
  gpu.each = {std::uint64_t{1} << 30, {{"gpu", 1}}};
  d.agent(
      enlist{{300}, "big", 4, 1, d.machine->term(), {}, {}, {}, {std::uint64_t{8} << 30, {{"gpu", 2}}}, {"zone=a"}});
  d.job(admit{wants(0, 2, 2, 0, gpu)});
  CHECK(d.status(0).state == "running");
  CHECK(d.last<placed>().members.front().node == "big");
  d.job(admit{wants(1, 2, 2, 0, gpu)});
  CHECK(d.status(1).reason == "needs 2 slots with 1 gpu and 1 GiB each, 0 free");
  d.job(admit{wants(2, 3, 3, 0, gpu)});
  CHECK(d.last<denied>().why.what == "needs 3 slots with 1 gpu and 1 GiB each at once, the cluster has room for 2");
  demand labelled;
  labelled.labels = {"zone=b"};
  d.job(admit{wants(3, 1, 1, 0, labelled)});
  CHECK(d.last<denied>().why.what == "needs 1 slot, labelled zone=b at once, the cluster has room for 0");
  demand one;
  one.how = placement::one_node;
  d.job(admit{wants(4, 5, 5, 0, one)});
  CHECK(d.last<denied>().why.what == "needs 5 slots, on one node at once, the cluster has room for 4");
  d.decide(0, d.all<placed>()[0].attempt, 1, decision_kind::release);
  CHECK(d.status(1).state == "running");
}

TEST_CASE("one application holds and queues no more than the limits") {
  desk d({8}, {.expected_nodes = 1, .application_queued = 2, .queue = {.application_slots = 4}});
  d.gang(0, 3);
  d.gang(1, 2);
  d.gang(2, 2);
  CHECK(d.status(1).reason == "needs 2 slots, and app holds 3 of the 4 that one application may");
  d.gang(3, 1);
  CHECK(d.last<denied>().request == d.id(3));
  CHECK(d.last<denied>().why.what == "2 requests of app wait already, as many as may");
  d.decide(0, d.last<placed>().attempt, 1, decision_kind::release);
  CHECK(d.status(1).state == "running");
  CHECK(d.status(2).state == "running");
  d.gang(4, 5);
  CHECK(d.last<denied>().why.what == "needs 5 slots at once, one application may hold 4");
}

TEST_CASE("on a drained node what runs goes on, nothing begins, and stages hand their slots back") {
  desk d({2, 4}, {.expected_nodes = 2});
  d.gang(0, 4);  // n101
  d.stage(1, 2);
  CHECK(drain(d, "n100").code == errc::none);
  CHECK(d.all<hand_back>().size() == 2);
  const auto said = d.all<hand_back>();
  d.wait(2s);
  CHECK(d.all<hand_back>().size() > 2);  // until the lease is over
  for (const auto& h : said) d.job(release_lease{h.request, h.attempt});
  const auto count = d.all<hand_back>().size();
  d.wait(30s);
  CHECK(d.all<hand_back>().size() == count);
  CHECK(d.status(1).held == 0);
  CHECK(d.status(1).reason == "needs 1 slot, 0 free; node n100 is drained");
  CHECK(drain(d, "n101").code == errc::none);
  CHECK(d.status(0).state == "running");
  CHECK(d.machine->status().nodes[1].state == "draining");
  d.decide(0, d.last<placed>().attempt, 1, decision_kind::release);
  CHECK(d.machine->status().nodes[1].state == "drained");
  CHECK(d.status(1).held == 0);
  CHECK(drain(d, "n100", false).code == errc::none);
  CHECK(d.status(1).held == 2);
}

TEST_CASE("a drain takes back what has not begun there, and it begins elsewhere") {
  desk d({2, 2}, {.expected_nodes = 2});
  d.agents_answer = false;
  d.gang(0, 2);
  const auto at = std::get<reserve>(d.orders.back()).agent;
  d.agents_answer = true;
  drain(d, at == boot_id{100} ? "n100" : "n101");
  d.wait(1s);
  CHECK(d.status(0).state == "running");
  CHECK(d.last<placed>().members.front().agent != at);
}

TEST_CASE("a drain outlasts restarts of the coordinator and of the node, and is not said before it is durable") {
  desk d({2});
  d.syncs = false;
  d.on(event::drain{7, "n100", true});
  CHECK(d.drained.empty());
  d.sync();
  CHECK(d.drained.size() == 1);
  d.syncs = true;
  d.restart();
  d.begin();
  d.agent(enlist{{400}, "n100", 2, 1, d.machine->term(), {}, {}});
  d.gang(0, 1);
  CHECK(d.status(0).reason == "needs 1 slot, 0 free; node n100 is drained");
  CHECK(drain(d, "n100", false).code == errc::none);
  CHECK(d.status(0).state == "running");
}

TEST_CASE("a drain of a node that holds a gang outlasts a restart of the coordinator") {
  desk d({2});
  d.gang(0, 1);
  const auto go = d.last<placed>();
  drain(d, "n100");
  d.restart();
  d.begin();
  entry_report held{{go.request, go.attempt}, request_kind::gang, entry_state::running, 1, true, {1100}, {}};
  d.agent(enlist{{100}, "n100", 2, 1, d.machine->term(), {held}, {}});
  d.gang(0, 1);
  d.wait(1s);
  CHECK(d.status(0).state == "running");
  d.gang(1, 1);
  CHECK(d.status(1).reason == "needs 1 slot, 0 free; node n100 is draining");
}

TEST_CASE("a node that nobody knows cannot be drained, and the error names those that are there") {
  desk d({2, 2}, {.expected_nodes = 2});
  const auto problem = drain(d, "n1");
  CHECK(problem.code == errc::not_found);
  CHECK(problem.hint == "nodes are n100, n101");
  CHECK(d.count_records<drain_record>() == 0);
}

}  // namespace hydrogen::gang::testing::at_desk
