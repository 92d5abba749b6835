// From the admission of a gang to its first rank: what is durable before what, who is told, who may enter.

#include "desk.hpp"

namespace hydrogen::gang::testing::at_desk {

TEST_CASE("a gang is placed, entered, released and closed") {
  desk d({2, 2});
  d.gang(0, 4);
  CHECK(d.last<placed>().members.size() == 2);
  CHECK(d.all<granted>().size() == 1);
  CHECK(d.status(0).state == "running");
  CHECK(d.free() == 0);
  d.decide(0, d.last<placed>().attempt, 1, decision_kind::release);
  CHECK(d.last<decided>().number == 1);
  CHECK(d.free() == 4);
  CHECK(d.machine->status().requests.empty());
  CHECK(std::get<closed_record>(d.records.back().body).reason == close_reason::released);
}

TEST_CASE("nothing is said before the term is durable, and what came early is heard then") {
  admission machine({.expected_nodes = 1}, {}, {});
  CHECK(std::holds_alternative<effect::append>(machine.start({}).at(0)));
  CHECK(machine.on(event::job_said{run, begin_run{app}}, {}).empty());
  const auto effects = machine.on(event::synced{1}, {});
  CHECK(std::any_of(effects.begin(), effects.end(), [](const auto& e) {
    const auto* m = std::get_if<effect::tell_job>(&e);
    return m != nullptr && std::holds_alternative<begun>(m->message);
  }));
}

TEST_CASE(
    "ranks join while the Go record is synced; nobody enters before it is durable, or before the fence is raised") {
  desk d({2, 2});
  d.fences = false;
  d.gang(0, 4);
  CHECK(d.count_records<go_record>() == 0);
  CHECK(d.orders_of(entry_verb::go) == 0);
  d.syncs = false;
  d.job(fenced{d.id(0), d.last<fence>().attempt});
  CHECK(d.count_records<go_record>() == 1);
  CHECK(d.last<placed>().members.size() == 2);
  CHECK(d.orders_of(entry_verb::go) == 0);     // executors hear of it from the job
  CHECK(d.orders_of(entry_verb::enter) == 0);  // though all have joined
  CHECK(d.status(0).reason == "all ranks have joined, its go is being recorded");
  d.wait(2s);
  CHECK(d.orders_of(entry_verb::enter) == 0);
  CHECK(d.all<granted>().empty());
  d.sync();
  CHECK(d.orders_of(entry_verb::enter) == 2);
  CHECK(d.all<granted>().size() == 1);

  desk late({4});
  late.joins = false;
  late.gang(0, 4);
  CHECK(late.durable == late.records.size());
  CHECK(late.orders_of(entry_verb::enter) == 0);
  late.news({100}, {late.id(0), late.last<placed>().attempt}, entry_news::joined);
  CHECK(late.orders_of(entry_verb::enter) == 1);
}

TEST_CASE("agents hear the go of a gang that takes longer to join, and its job the table again") {
  desk d({2, 2});
  d.joins = false;
  d.gang(0, 4);
  CHECK(d.orders_of(entry_verb::go) == 0);
  CHECK(d.all<placed>().size() == 1);
  d.wait(10ms);
  CHECK(d.orders_of(entry_verb::go) == 2);
  CHECK(d.all<placed>().size() == 1);
  d.news({100}, {d.id(0), d.last<placed>().attempt}, entry_news::joined);
  d.wait(500ms);
  CHECK(d.orders_of(entry_verb::go) == 3);  // to the one that has not joined
  CHECK(d.all<placed>().size() == 2);
}

TEST_CASE("ranks that meet in one place are permitted to enter by the durable Go, and do so when the last one comes") {
  desk d({2, 2, 2});
  d.joins = false;
  d.gang(0, 6);
  const attempt_ref ref{d.id(0), d.last<placed>().attempt};
  REQUIRE(d.orders_of(entry_verb::permit) == 1);
  CHECK(std::get<entry_order>(d.orders.back()).agent == boot_id{100});  // of rank 0: one of them is enough
  CHECK(d.orders_of(entry_verb::enter) == 0);
  CHECK(d.all<granted>().empty());
  d.agents_answer = false;
  SUBCASE("the last one tells that they are in; their agents hear it later, should the permission have been lost") {
    d.agent(d.everyone_joined({101}, ref));
    CHECK(d.orders_of(entry_verb::enter) == 0);
    CHECK(d.all<granted>().size() == 1);
    CHECK(d.status(0).state == "running");
    d.wait(10ms);
    CHECK(d.orders_of(entry_verb::enter) == 3);
  }
  SUBCASE("that they have returned may be heard before") {
    d.news({102}, ref, entry_news::finished);
    CHECK(d.free() == 2);
    CHECK(d.all<granted>().size() == 1);
    CHECK(d.status(0).state == "running");
    d.agent(d.everyone_joined({101}, ref));
    d.news({100}, ref, entry_news::finished);
    d.news({101}, ref, entry_news::finished);
    CHECK(d.status(0).reason == "all ranks have returned, waits for its job to take the results");
    d.wait(1s);
    CHECK(d.orders_of(entry_verb::enter) == 0);
  }
  SUBCASE("they meet elsewhere: each member has to say that its ranks have joined") {
    for (const auto agent : {100, 101, 102}) {
      CHECK(d.orders_of(entry_verb::enter) == 0);
      d.news({static_cast<std::uint64_t>(agent)}, ref, entry_news::joined);
    }
    CHECK(d.orders_of(entry_verb::enter) == 3);
  }
  CHECK(d.orders_of(entry_verb::permit) == 1);
}

TEST_CASE("a gang that has met in one place before its Go is durable is entered through the member that tells so") {
  desk d({2, 2, 2});
  d.joins = d.syncs = false;
  d.gang(0, 6);
  const attempt_ref ref{d.id(0), d.last<placed>().attempt};
  const auto all = d.everyone_joined({101}, ref);
  d.news({100}, ref, entry_news::joined);  // a slow rank spoke for itself
  d.agents_answer = false;
  d.agent(all);
  CHECK(d.orders_of(entry_verb::enter) == 0);
  d.sync();
  CHECK(d.orders_of(entry_verb::permit) == 0);
  REQUIRE(d.orders_of(entry_verb::enter) == 1);
  CHECK(std::get<entry_order>(d.orders.back()).agent == boot_id{101});
  CHECK(d.all<granted>().size() == 1);
  CHECK(d.status(0).state == "running");
  d.agent(all);  // repeated
  CHECK(d.orders_of(entry_verb::enter) == 1);
  SUBCASE("later") {
    d.wait(10ms);
    CHECK(d.orders_of(entry_verb::enter) == 3);
    d.wait(500ms);  // nobody has answered
    CHECK(d.orders_of(entry_verb::enter) == 6);
    for (const auto agent : {100, 101, 102}) d.news({static_cast<std::uint64_t>(agent)}, ref, entry_news::entered);
    d.wait(2s);
    CHECK(d.orders_of(entry_verb::enter) == 6);
  }
  SUBCASE("it is over before") {
    d.decide(0, ref.attempt, 1, decision_kind::release);
    d.wait(100ms);
    CHECK(d.orders_of(entry_verb::enter) == 1);
    CHECK(d.orders_of(entry_verb::close) == 0);
    CHECK(d.free() == 6);
  }
}

TEST_CASE("a Go that a crash kept from the disk never ran: what joined is disowned, and the gang gets a new attempt") {
  desk d({4});
  d.syncs = false;
  d.gang(0, 4);
  const attempt_ref lost{d.id(0), d.last<placed>().attempt};
  CHECK(d.orders_of(entry_verb::enter) == 0);
  d.syncs = true;
  d.restart();  // without what was not durable
  d.begin();
  d.job(admit{{d.id(0), request_kind::gang, 4, 4, app, "stage 0", {}}});
  CHECK(d.last<fence>().attempt == lost.attempt);  // nothing fits yet
  d.told.clear();
  d.add_node({100}, 4, {{lost, request_kind::gang, entry_state::joining, 4, true, {1100}, {}}});
  CHECK(d.free() == 0);
  d.news({100}, lost, entry_news::gone);
  CHECK(d.last<fence>().attempt > lost.attempt);
  CHECK(d.last<placed>().attempt == d.last<fence>().attempt);
  CHECK(d.all<granted>().size() == 1);
}

TEST_CASE("the slots of a released gang are taken back at once; only the answer waits for the record") {
  desk d({4});
  d.gang(0, 4);
  d.syncs = false;
  d.decide(0, d.last<placed>().attempt, 1, decision_kind::release);
  CHECK(d.free() == 4);
  CHECK(d.all<decided>().empty());
  d.gang(1, 4);  // does not wait for the record either
  CHECK(d.last<placed>().request == d.id(1));
  SUBCASE("durable") {
    d.sync();
    CHECK(d.last<decided>().request == d.id(0));
    CHECK(d.all<granted>().size() == 2);
  }
  SUBCASE("lost by a crash: the job, which is not answered, says it again") {
    const attempt_ref released{d.id(0), d.all<placed>().front().attempt};
    d.syncs = true;
    d.restart();
    d.begin();
    d.told.clear();
    d.add_node({100}, 4);  // holds nothing any more
    CHECK(d.last<ended>().attempt == released.attempt);
    CHECK_FALSE(d.last<ended>().burnt);
    d.decide(0, released.attempt, 2, decision_kind::release);
    CHECK(d.last<decided>().number == 2);
    CHECK(d.free() == 4);
  }
}

TEST_CASE("a record that nobody waits for shares the sync of another, or asks for its own a little later") {
  admission machine({.sync_after = 2ms, .expected_nodes = 1}, {}, {});
  time_point now{};
  std::size_t appended = 0, syncs = 0;
  const auto on = [&](const admission::event& e) {
    for (const auto& x : machine.on(e, now)) {
      appended += std::holds_alternative<effect::append>(x) ? 1 : 0;
      syncs += std::holds_alternative<effect::sync>(x) ? 1 : 0;
    }
  };
  const auto admit_gang = [&](std::uint32_t stage) {
    on(event::job_said{run, admit{{desk::id(stage), request_kind::gang, 1, 1, app, "a gang", {}}}});
  };
  (void)machine.start(now);
  on(event::synced{1});
  on(event::job_said{run, begin_run{app}});
  on(event::agent_said{enlist{{100}, "n100", 1, 1, machine.term(), {}, {}}});
  admit_gang(0);
  CHECK(appended == 1);
  CHECK(syncs == 0);
  SUBCASE("alone") {
    now += 2ms;
    on(event::timer{});
    CHECK(syncs == 1);
    CHECK(machine.next_wakeup() > now);
  }
  SUBCASE("with a Go") {
    const attempt_ref ref{desk::id(0), {machine.term(), 1}};
    on(event::job_said{run, fenced{ref.request, ref.attempt}});
    entry_report_news committed;
    committed.term = machine.term();
    committed.agent = {100};
    committed.ref = ref;
    committed.news = entry_news::committed;
    committed.executor = {7};
    on(event::agent_said{committed});
    CHECK(appended == 2);
    CHECK(syncs == 1);
    now += 2ms;
    on(event::timer{});
    CHECK(syncs == 1);
  }
}

}  // namespace hydrogen::gang::testing::at_desk
