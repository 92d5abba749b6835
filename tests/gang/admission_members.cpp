// Nodes and drivers that come, go and come back; restarts; status.

#include "desk.hpp"

namespace hydrogen::gang::testing::at_desk {

TEST_CASE(
    "a node whose contact is lost gets nothing; declared dead, its attempts end and its job hears of its executors") {
  desk d({2, 2});
  d.gang(0, 4);
  d.on(event::agent_lost{{101}});
  CHECK(d.status(0).state == "running");
  d.wait(2s);
  CHECK(d.status(0).state == "parked");
  CHECK(d.last<executor_gone>().executor == boot_id{1101});
  CHECK(d.free() == 2);
  d.agent(enlist{{101}, "n101", 2, 1, d.machine->term(), {}, {}});  // it was not dead
  CHECK(std::holds_alternative<expelled>(d.orders.back()));
  CHECK(d.free() == 2);
}

TEST_CASE("an agent that comes back within the grace is as before") {
  desk d({4});
  d.gang(0, 4);
  d.on(event::agent_lost{{100}});
  d.wait(500ms);
  d.agent(enlist{{100}, "n100", 4, 2, d.machine->term(), {}, {}});
  d.wait(1min);
  CHECK(d.status(0).state == "running");
}

TEST_CASE("a node of the same name takes over only when the first is out of contact") {
  desk d({4});
  d.agent(enlist{{300}, "n100", 4, 1, d.machine->term(), {}, {}});
  CHECK(d.machine->account().find({300}) == nullptr);
  d.on(event::agent_lost{{100}});
  d.agent(enlist{{300}, "n100", 4, 2, d.machine->term(), {}, {}});
  CHECK(d.machine->account().find({300}) != nullptr);
  CHECK(d.machine->account().find({100}) == nullptr);
  CHECK(d.free() == 4);
}

TEST_CASE("when a driver is gone its requests are cancelled and its executors ended; back in time, nothing happens") {
  desk d({4});
  d.gang(0, 4);
  d.on(event::driver_lost{run});
  d.wait(500ms);
  d.begin();
  d.wait(10s);
  CHECK(d.status(0).state == "running");
  d.on(event::driver_lost{run});
  d.wait(2s);
  CHECK(d.free() == 4);
  CHECK(d.count_orders<end_executors>() == 1);
  CHECK(d.machine->status().runs.empty());
  d.begin();
  CHECK(std::holds_alternative<run_over>(d.told.back()));
}

TEST_CASE("rule 3: after a restart nothing is free until the list of this term is in") {
  desk d({4});
  d.gang(0, 4);
  const auto ref = attempt_ref{d.id(0), d.last<placed>().attempt};
  d.ends = false;
  d.restart();
  CHECK(d.machine->term() == term_id{2});
  d.agent(enlist{{100}, "n100", 4, 1, {1}, {}, {}});  // taken under the old term
  CHECK(std::holds_alternative<follow>(d.orders.back()));
  CHECK(d.free() == 0);
  entry_report held;
  held.ref = ref;
  held.state = entry_state::running;
  held.slots = 4;
  d.agent(enlist{{100}, "n100", 4, 2, {2}, {held}, {}});
  CHECK(d.free() == 0);  // debited from the journal until it is confirmed gone
  d.begin();
  d.gang(0, 4);
  d.news({100}, ref, entry_news::gone);
  CHECK(d.free() == 4);
  CHECK(d.last<ended>().cause == end_cause::restart);
  CHECK_FALSE(d.last<ended>().burnt);
  CHECK(d.status(0).state == "parked");
  d.decide(0, ref.attempt, 1, decision_kind::again);
  CHECK(d.status(0).state == "running");
}

TEST_CASE("after a restart what is listed and unknown is disowned and debited until it is gone") {
  desk d({4});
  d.stage(0, 1);
  const attempt_ref lease{d.id(0), d.last<leased>().attempt};
  d.ends = false;
  d.restart();
  entry_report held;
  held.ref = lease;
  held.kind = request_kind::parallel;
  held.state = entry_state::running;
  held.slots = 1;
  d.agent(enlist{{100}, "n100", 4, 1, {2}, {held}, {}});
  CHECK(d.free() == 3);
  const auto answer = std::find_if(d.orders.rbegin(), d.orders.rend(),
                                   [](const auto& m) { return std::holds_alternative<enlisted>(m); });
  REQUIRE(answer != d.orders.rend());
  CHECK(std::get<enlisted>(*answer).disown == std::vector<attempt_ref>{lease});
  d.wait(1s);
  CHECK(d.orders_of(entry_verb::revoke) == 2);
  d.begin();
  d.news({100}, lease, entry_news::absent);
  CHECK(d.free() == 4);
  CHECK(d.last<ended>().attempt == lease.attempt);
}

TEST_CASE("after a restart a member that does not come back is dead after the grace") {
  desk d({2, 2});
  d.gang(0, 4);
  d.restart();
  d.begin();
  d.gang(0, 4);
  d.agent(enlist{{100}, "n100", 2, 1, {2}, {}, {}});
  CHECK(d.status(0).state == "revoking");
  d.wait(11s);
  CHECK(d.last<ended>().cause == end_cause::restart);
}

TEST_CASE("after a restart requests keep their places, and wait for their job to repeat them") {
  desk d({2});
  d.gang(0, 2);
  d.gang(1, 2);
  d.gang(2, 2);
  d.decide(0, d.last<placed>().attempt, 1, decision_kind::release);
  CHECK(d.status(1).state == "running");
  d.decide(1, d.last<placed>().attempt, 1, decision_kind::release);
  d.job(cancel{d.id(2)});
  d.gang(3, 2);
  d.gang(4, 2);
  d.restart();
  CHECK(d.status(0).label.empty());
  CHECK(d.status(2).label.empty());
  d.agent(enlist{{100}, "n100", 2, 1, {2}, {}, {}});
  d.begin();
  CHECK(d.status(4).reason == "waits for its driver to come back");
  d.gang(4, 2);
  d.gang(3, 2);
  CHECK(d.status(4).state == "running");  // the other was not known to be wanted yet
  d.decide(4, d.last<placed>().attempt, 1, decision_kind::release);
  CHECK(d.status(3).state == "parked");  // its Go was open
}

TEST_CASE("repeats of what is over are answered and bring nothing back") {
  desk d({4});
  d.gang(0, 4);
  d.decide(0, d.last<placed>().attempt, 1, decision_kind::release);
  d.gang(0, 4);
  CHECK(d.last<ended>().cause == end_cause::cancelled);
  d.decide(0, d.last<placed>().attempt, 1, decision_kind::release);
  CHECK(d.last<decided>().number == 1);
  d.job(cancel{d.id(7)});
  CHECK(d.last<ended>().request == d.id(7));
  d.gang(1, 9);
  const auto denials = d.all<denied>().size();
  d.gang(1, 9);
  CHECK(d.all<denied>().size() == denials + 1);
  CHECK(d.machine->status().requests.empty());
}

TEST_CASE("a request that makes no sense is denied with the reason") {
  desk d({4});
  d.job(admit{{d.id(0), request_kind::gang, 3, 2, app, "odd", {}}});
  CHECK(d.last<denied>().why.code == errc::bad_input);
}

TEST_CASE("two gangs of three on four slots, a thousand times: each runs") {
  desk d({2, 2});
  for (std::uint32_t i = 0; i < 1000; ++i) {
    d.gang(2 * i, 3);
    d.gang(2 * i + 1, 3);
    for (int k = 0; k < 2; ++k) {
      const auto p = d.last<placed>();
      d.decide(p.request.stage, p.attempt, 1, decision_kind::release);
    }
    d.orders.clear();
    d.told.clear();
  }
  CHECK(d.machine->status().requests.empty());
  CHECK(d.free() == 4);
}

TEST_CASE("status names nodes, what they hold, runs and requests") {
  desk d({4});
  d.gang(0, 3);
  const auto s = d.machine->status();
  REQUIRE(s.nodes.size() == 1);
  CHECK(s.nodes[0].state == "ready");
  CHECK(s.nodes[0].free == 1);
  REQUIRE(s.nodes[0].held.size() == 1);
  CHECK(s.nodes[0].held[0].slots == 3);
  CHECK(s.runs[0].state == "connected");
  CHECK(s.requests[0].state == "running");
  CHECK(decode<cluster_status>(encode(s)));
}

}  // namespace hydrogen::gang::testing::at_desk
