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

namespace {

/// A gang of 4 runs on two nodes of 2 slots, and the coordinator is restarted.
struct restarted : desk {
  attempt_ref ref;
  explicit restarted(bool cancelled = false) : desk({2, 2}) {
    gang(0, 4);
    ref = {id(0), last<placed>().attempt};
    ends = false;
    if (cancelled) job(cancel{id(0)});
    orders.clear();
    told.clear();
    restart();
    fences = false;
    begin();
    if (!cancelled) gang(0, 4);
  }
  entry_report entry(boot_id node, entry_state state, bool joined = true) const {
    entry_report e;
    e.ref = ref;
    e.state = state;
    e.slots = 2;
    e.joined = joined;
    e.executor = {node.value + 1000};
    return e;
  }
  void list(boot_id node, std::vector<entry_report> entries, std::vector<attempt_ref> finished = {}) {
    enlist l{node, std::string("n").append(std::to_string(node.value)), 2, 2, {2}, std::move(entries), {}};
    l.executors = {{run, {node.value + 1000}}};
    l.finished = std::move(finished);
    agent(l);
  }
  void go_on() { job(fenced{ref.request, ref.attempt}); }
};

}  // namespace

TEST_CASE("rule 3: after a restart nothing is free until the list of this term is in") {
  restarted d;
  CHECK(d.machine->term() == term_id{2});
  d.agent(enlist{{100}, "n100", 2, 1, {1}, {}, {}});  // taken under the old term
  CHECK(std::holds_alternative<follow>(d.orders.back()));
  CHECK(d.free() == 0);
  d.list({100}, {});
  CHECK(d.free() == 2);
}

TEST_CASE("a gang goes on after a restart when its nodes and its job go on with it") {
  restarted d;
  CHECK(d.status(0).state == "recovering");
  CHECK(d.status(0).reason == "waits for n100, n101 to go on after the restart");
  SUBCASE("all were running, or have returned") {
    d.list({100}, {d.entry({100}, entry_state::running)});
    SUBCASE("one has not been told") {
      d.list({101}, {d.entry({101}, entry_state::joining)});
    }
    SUBCASE("one has returned") {
      d.list({101}, {}, {d.ref});
      CHECK(d.free() == 2);
    }
    CHECK(d.status(0).reason == "waits for its job to go on after the restart");
    d.wait(1s);
    CHECK(d.last<fence>().attempt == d.ref.attempt);
    d.go_on();
    CHECK(d.status(0).state == "running");
  }
  SUBCASE("some had not joined: they are waited for, and nobody begins before") {
    d.go_on();
    d.list({101}, {d.entry({101}, entry_state::joining, true)});
    d.joins = false;
    d.list({100}, {d.entry({100}, entry_state::committed, false)});
    CHECK(d.status(0).state == "joining");
    CHECK(d.orders_of(entry_verb::go) == 2);  // who has joined says so again
    CHECK(d.orders_of(entry_verb::enter) == 0);
    d.wait(1s);
    CHECK(d.last<placed>().members.size() == 2);  // its job may not have heard it
    CHECK(d.orders_of(entry_verb::enter) == 0);
    d.news({101}, d.ref, entry_news::joined);
    CHECK(d.orders_of(entry_verb::enter) == 0);
    d.news({100}, d.ref, entry_news::joined);
    CHECK(d.status(0).state == "running");
    CHECK(d.orders_of(entry_verb::enter) == 2);
  }
  SUBCASE("all went through one gate, and only the last one had said so") {
    d.go_on();
    d.joins = false;
    d.list({101}, {d.entry({101}, entry_state::joining, true)});
    d.list({100}, {d.entry({100}, entry_state::committed, false)});
    d.agent(d.everyone_joined({101}, d.ref));
    CHECK(d.status(0).state == "running");
    d.wait(1s);
    CHECK(d.orders_of(entry_verb::enter) >= 2);  // or their agents would end them as late
  }
  SUBCASE("one has returned before it could send its list") {
    d.go_on();
    d.list({100}, {d.entry({100}, entry_state::committed, true)});
    d.news({101}, d.ref, entry_news::finished);
    CHECK(d.status(0).state == "running");
    d.list({101}, {}, {d.ref});
  }
  d.wait(20s);
  CHECK(d.all<ended>().empty());
  d.ends = true;
  d.decide(0, d.ref.attempt, 1, decision_kind::release);
  d.wait(1s);
  CHECK(d.free() == 4);
  CHECK(d.machine->status().requests.empty());
}

TEST_CASE("a gang that does not go on after a restart is parked, and no try is burnt") {
  restarted d;
  SUBCASE("a node gave it up") {
    d.list({100}, {d.entry({100}, entry_state::running)});
    d.go_on();
    d.list({101}, {});
  }
  SUBCASE("a node is ending it") {
    d.list({100}, {d.entry({100}, entry_state::draining)});
    d.list({101}, {d.entry({101}, entry_state::running)});
  }
  SUBCASE("it runs in another executor") {
    auto other = d.entry({100}, entry_state::running);
    other.executor = {7};
    d.list({100}, {other});
    d.list({101}, {d.entry({101}, entry_state::running)});
  }
  SUBCASE("its job says that it is over") {
    d.list({100}, {d.entry({100}, entry_state::running)});
    d.list({101}, {d.entry({101}, entry_state::running)});
    d.decide(0, d.ref.attempt, 1, decision_kind::again);
    CHECK(d.all<decided>().empty());  // not before it is parked
  }
  SUBCASE("its job says nothing") {
    d.list({100}, {d.entry({100}, entry_state::running)});
    d.list({101}, {d.entry({101}, entry_state::running)});
    d.wait(11s);
  }
  CHECK(d.status(0).state == "revoking");
  d.news({100}, d.ref, entry_news::gone);
  d.news({101}, d.ref, entry_news::gone);
  CHECK(d.free() == 4);
  CHECK(d.last<ended>().cause == end_cause::restart);
  CHECK_FALSE(d.last<ended>().burnt);
  CHECK(d.status(0).state == "parked");
  d.fences = true;
  d.decide(0, d.ref.attempt, 2, decision_kind::again);
  CHECK(d.status(0).state == "running");
  CHECK(d.last<placed>().attempt > d.ref.attempt);
}

TEST_CASE("a cancelled gang that still ran when its coordinator was killed is over only when its nodes confirm it") {
  restarted d(true);
  d.list({100}, {d.entry({100}, entry_state::running)});
  d.list({101}, {d.entry({101}, entry_state::running)});
  d.job(cancel{d.id(0)});
  CHECK(d.status(0).state == "ending");
  d.wait(1s);
  CHECK(d.orders_of(entry_verb::revoke) >= 2);
  d.news({100}, d.ref, entry_news::gone);
  CHECK(d.all<ended>().empty());
  SUBCASE("the other confirms too") {
    d.news({101}, d.ref, entry_news::gone);
  }
  SUBCASE("the other is lost") {
    d.on(event::agent_lost{{101}});
    d.wait(2s);
  }
  CHECK(d.last<ended>().cause == end_cause::cancelled);
  CHECK(d.machine->status().requests.empty());
  CHECK(digest(d.records).in_order().empty());
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

TEST_CASE("after a restart a member that does not come back is dead after the grace, and burns a try as ever") {
  restarted d;
  d.list({100}, {d.entry({100}, entry_state::running)});
  d.go_on();
  d.wait(11s);
  CHECK(d.status(0).state == "revoking");
  d.news({100}, d.ref, entry_news::gone);
  CHECK(d.last<ended>().cause == end_cause::lost);
  CHECK(d.last<ended>().burnt);
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
