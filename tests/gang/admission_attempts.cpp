// Attempts: commits, joins, returns; how they end, and what is decided then.

#include "desk.hpp"

namespace hydrogen::gang::testing::at_desk {

TEST_CASE("when all executors are up, the go follows the reserve, and no commit is sent") {
  desk d({2, 2});
  d.warm = true;
  d.gang(0, 4);
  CHECK(d.orders_of(entry_verb::commit) == 0);
  CHECK(d.count_records<go_record>() == 1);
  REQUIRE(d.last<placed>().members.size() == 2);
  for (const auto& m : d.last<placed>().members) CHECK(m.executor == boot_id{m.agent.value + 1000});
  CHECK(d.all<granted>().size() == 1);
  d.stage(1, 1);
  d.decide(0, d.last<placed>().attempt, 1, decision_kind::release);
  CHECK(d.all<leased>().size() == 1);
  CHECK(d.orders_of(entry_verb::commit) == 0);
}

TEST_CASE("when some executors are up, all members are told to commit, and go waits for those that were not") {
  desk d({2, 2});
  d.agents_answer = false;
  d.gang(0, 4);
  const attempt_ref ref{d.id(0), d.last<fence>().attempt};
  d.news({100}, ref, entry_news::committed);
  d.news({100}, ref, entry_news::committed);  // twice the same is not two
  CHECK(d.orders_of(entry_verb::commit) == 0);
  d.news({101}, ref, entry_news::reserved);
  CHECK(d.orders_of(entry_verb::commit) == 2);
  d.wait(500ms);
  CHECK(d.orders_of(entry_verb::commit) == 4);
  d.news({100}, ref, entry_news::committed);
  CHECK(d.count_records<go_record>() == 0);
  d.wait(500ms);
  CHECK(d.orders_of(entry_verb::commit) == 5);
  d.news({101}, ref, entry_news::committed);
  CHECK(d.count_records<go_record>() == 1);
}

TEST_CASE("while the fence takes long, what was committed at once is told to commit, so that it stays") {
  desk d({4});
  d.warm = true;
  d.fences = false;
  d.syncs = false;
  d.gang(0, 4);
  CHECK(d.orders_of(entry_verb::commit) == 0);
  d.wait(500ms);
  CHECK(d.orders_of(entry_verb::commit) == 1);
  d.wait(1s);  // answered: not again
  CHECK(d.orders_of(entry_verb::commit) == 1);
  d.job(fenced{d.id(0), d.last<fence>().attempt});
  d.sync();
  CHECK(d.all<granted>().size() == 1);
}

TEST_CASE("what was committed at once and has expired queues the gang again") {
  desk d({2, 2});
  d.agents_answer = false;
  d.gang(0, 4);
  const attempt_ref ref{d.id(0), d.last<fence>().attempt};
  d.news({100}, ref, entry_news::committed);
  d.news({100}, ref, entry_news::gone, refusal_kind::busy);
  CHECK(d.orders_of(entry_verb::abort) == 1);
  d.news({101}, ref, entry_news::committed);  // too late
  CHECK(d.count_records<go_record>() == 0);
  d.news({101}, ref, entry_news::gone);
  CHECK(d.all<ended>().empty());
  d.agents_answer = d.warm = true;
  d.wait(1s);
  CHECK(d.all<granted>().size() == 1);
}

TEST_CASE("enter leaves only when every member has joined") {
  desk d({2, 2});
  d.joins = false;
  d.gang(0, 4);
  const attempt_ref ref{d.id(0), d.last<placed>().attempt};
  d.news({100}, ref, entry_news::joined);
  CHECK(d.orders_of(entry_verb::enter) == 0);
  d.news({100}, ref, entry_news::joined);  // twice the same is not two
  CHECK(d.orders_of(entry_verb::enter) == 0);
  CHECK(d.status(0).state == "joining");
  CHECK(d.status(0).reason == "2 of 4 ranks have joined, waits for n101");
  d.news({101}, ref, entry_news::joined);
  CHECK(d.orders_of(entry_verb::enter) == 2);
}

TEST_CASE("a gang whose ranks have all returned says that its job has the word") {
  desk d({2, 2});
  d.joins = false;
  d.gang(0, 4);
  const attempt_ref ref{d.id(0), d.last<placed>().attempt};
  for (const auto agent : {boot_id{100}, boot_id{101}}) d.news(agent, ref, entry_news::joined);
  d.news({100}, ref, entry_news::entered);
  d.news({100}, ref, entry_news::finished);
  d.news({100}, ref, entry_news::finished);  // twice the same is not two
  CHECK(d.status(0).state == "running");
  CHECK(d.status(0).reason == "");
  d.news({101}, ref, entry_news::finished);  // its entered was lost
  d.news({101}, ref, entry_news::entered);
  CHECK(d.status(0).state == "running");
  CHECK(d.status(0).reason == "all ranks have returned, waits for its job to take the results");
  const auto enters = d.orders_of(entry_verb::enter);
  d.wait(2s);
  CHECK(d.orders_of(entry_verb::enter) == enters);  // nothing is owed any more
}

TEST_CASE("ranks that have returned hold no slots; that they have is acknowledged when the attempt is over") {
  desk d({2, 2});
  d.gang(0, 4);
  const attempt_ref ref{d.id(0), d.last<placed>().attempt};
  d.news({100}, ref, entry_news::finished);
  CHECK(d.free() == 2);
  CHECK(d.status(0).held == 2);
  CHECK(d.orders_of(entry_verb::acknowledge_gone) == 0);
  SUBCASE("the next gang starts there while the first still runs elsewhere") {
    d.gang(1, 2);
    CHECK(d.status(1).state == "running");
    CHECK(d.status(0).state == "running");
    d.wait(1s);
    CHECK(d.orders_of(entry_verb::acknowledge_gone) == 0);  // a coordinator that comes after this one must hear it
  }
  SUBCASE("then with the next word, or alone, soon") {
    d.decide(0, ref.attempt, 1, decision_kind::release);
    CHECK(d.machine->status().requests.empty());
    CHECK(d.orders_of(entry_verb::acknowledge_gone) == 0);
    d.wait(125ms);
    CHECK(d.orders_of(entry_verb::acknowledge_gone) == 2);
    d.news({100}, ref, entry_news::finished);  // said again: it was not heard
    d.gang(1, 4);
    CHECK(d.orders_of(entry_verb::acknowledge_gone) == 3);
  }
  SUBCASE("a loss elsewhere ends the rest of the attempt") {
    d.ends = false;
    d.news({101}, ref, entry_news::gone, refusal_kind::executor);
    CHECK(d.last<ended>().attempt == ref.attempt);
    CHECK(d.last<ended>().cause == end_cause::lost);
    CHECK(d.last<ended>().burnt);
    CHECK(d.orders_of(entry_verb::revoke) == 0);  // nobody holds anything
  }
  SUBCASE("the job wants another attempt, though all have returned") {
    d.news({101}, ref, entry_news::finished);
    d.decide(0, ref.attempt, 1, decision_kind::fail);
    CHECK(d.last<ended>().cause == end_cause::failed);
    CHECK(d.last<ended>().burnt);
  }
}

TEST_CASE("a released gang whose agents do not say that its ranks have returned is closed there") {
  desk d({2, 2});
  d.returns = false;
  d.gang(0, 4);
  d.decide(0, d.last<placed>().attempt, 1, decision_kind::release);
  CHECK(d.orders_of(entry_verb::close) == 0);
  CHECK(d.free() == 0);
  d.wait(10ms);
  CHECK(d.orders_of(entry_verb::close) == 2);
  CHECK(d.free() == 4);
  CHECK(d.machine->status().requests.empty());
}

TEST_CASE("unanswered messages are repeated, answered ones are not") {
  desk d({4});
  d.agents_answer = false;
  d.gang(0, 4);
  CHECK(d.count_orders<reserve>() == 1);
  d.wait(1s);
  CHECK(d.count_orders<reserve>() == 3);
  const attempt_ref ref{d.id(0), d.last<fence>().attempt};
  d.news({100}, ref, entry_news::reserved);
  d.wait(1s);
  CHECK(d.count_orders<reserve>() == 3);
  CHECK(d.orders_of(entry_verb::commit) == 3);
}

TEST_CASE("the ledger is credited only when the end is confirmed, however long an abort takes") {
  desk d({4});
  d.ends = false;
  d.gang(0, 4);
  d.job(cancel{d.id(0)});
  d.wait(1min);
  CHECK(d.free() == 0);
  CHECK(d.orders_of(entry_verb::revoke) > 50);
  CHECK(d.all<ended>().empty());
  d.news({100}, {d.id(0), d.last<fence>().attempt}, entry_news::gone);
  CHECK(d.free() == 4);
  CHECK(d.last<ended>().cause == end_cause::cancelled);
}

TEST_CASE("cancel is durable before the first revoke") {
  desk d({4});
  d.gang(0, 4);
  d.syncs = false;
  d.job(cancel{d.id(0)});
  CHECK(d.orders_of(entry_verb::revoke) == 0);
  CHECK(d.count_records<cancelled_record>() == 1);
  d.sync();
  CHECK(d.orders_of(entry_verb::revoke) == 1);
  CHECK(d.last<ended>().cause == end_cause::cancelled);
}

TEST_CASE("cancel in each state ends with nothing held and ended(cancelled)") {
  for (const auto silent_at : {0, 1, 2, 3, 4, 5}) {
    CAPTURE(silent_at);
    desk d({4});
    d.agents_answer = silent_at != 1;
    d.fences = silent_at != 2;
    d.joins = silent_at != 3;
    if (silent_at == 0) d.gang(9, 4);  // the gang behind it waits in the queue
    if (silent_at == 4) d.syncs = false;
    d.gang(0, 4);
    if (silent_at == 5) d.decide(0, d.last<placed>().attempt, 1, decision_kind::fail);
    d.job(cancel{d.id(0)});
    d.agents_answer = d.syncs = true;
    d.sync();
    d.wait(2s);
    CHECK(d.last<ended>().request == d.id(0));
    CHECK(d.last<ended>().cause == end_cause::cancelled);
    CHECK(d.free() == (silent_at == 0 ? 0 : 4));
  }
}

TEST_CASE("a refusal that is busy queues the gang again at its place") {
  desk d({4});
  d.agents_answer = false;
  d.gang(0, 4);
  d.gang(1, 1);
  d.news({100}, {d.id(0), d.last<fence>().attempt}, entry_news::refused, refusal_kind::busy);
  CHECK(d.status(0).state == "queued");
  d.agents_answer = true;
  d.wait(1s);
  CHECK(d.status(0).state == "running");
  CHECK(d.status(1).state == "queued");
}

TEST_CASE("a bad library denies the request at once, failing executors after three times") {
  desk d({4});
  d.agents_answer = false;
  d.gang(0, 4);
  d.news({100}, {d.id(0), d.last<fence>().attempt}, entry_news::gone, refusal_kind::application);
  CHECK(d.last<denied>().request == d.id(0));
  d.gang(1, 4);
  for (std::uint64_t i = 0; i < 3; ++i) {
    CHECK(d.last<denied>().request == d.id(0));
    d.news({100}, {d.id(1), d.last<fence>().attempt}, entry_news::gone, refusal_kind::executor, {2000 + i});
    d.wait(600ms);
  }
  CHECK(d.last<denied>().request == d.id(1));
  CHECK(d.free() == 4);
}

TEST_CASE("an executor that fails to start is one failure, however many leases waited for it") {
  desk d({4});
  d.agents_answer = false;
  d.stage(0, 4);
  for (std::uint64_t i = 0; i < 3; ++i) {
    std::set<attempt_ref> leases;
    for (const auto& order : d.orders) {
      if (const auto* m = std::get_if<reserve>(&order)) leases.insert(m->ref);
    }
    d.orders.clear();
    REQUIRE(leases.size() == 4);
    CHECK(d.all<denied>().empty());
    for (const auto& ref : leases) d.news({100}, ref, entry_news::gone, refusal_kind::executor, {2000 + i});
    d.orders.clear();
    d.wait(600ms);
  }
  CHECK(d.last<denied>().request == d.id(0));
}

TEST_CASE("a member that is lost after go revokes the gang; the job alone decides what follows") {
  desk d({2, 2});
  d.gang(0, 4);
  const auto first = d.last<placed>().attempt;
  d.news({100}, {d.id(0), first}, entry_news::gone);
  CHECK(d.last<ended>().attempt == first);
  CHECK(d.last<ended>().detail == "node " + d.last<placed>().members[0].node + " does not hold its part any more");
  CHECK(d.last<ended>().burnt);
  CHECK(d.status(0).state == "parked");
  CHECK(d.free() == 4);
  d.wait(1min);
  CHECK(d.status(0).state == "parked");
  CHECK(d.all<ended>().size() > 3);  // until it is decided
  d.decide(0, first, 1, decision_kind::again);
  CHECK(d.status(0).state == "running");
  CHECK(d.last<placed>().attempt > first);
}

TEST_CASE("again after a Go requeues only when its record is durable, and is answered only then") {
  desk d({4});
  d.gang(0, 4);
  const auto first = d.last<placed>().attempt;
  d.decide(0, first, 1, decision_kind::fail);
  d.syncs = false;
  const auto answers = d.all<decided>().size();
  d.decide(0, first, 2, decision_kind::again);
  CHECK(d.status(0).state == "parked");
  CHECK(d.all<decided>().size() == answers);
  d.sync();
  CHECK(d.all<decided>().size() == answers + 1);
  CHECK(d.last<fence>().attempt > first);
}

TEST_CASE("rule 11: lower decision numbers are answered without effect") {
  desk d({4});
  d.gang(0, 4);
  const auto first = d.last<placed>().attempt;
  d.decide(0, first, 5, decision_kind::fail);
  d.decide(0, first, 4, decision_kind::release);
  CHECK(d.last<decided>().number == 4);
  CHECK(d.status(0).state == "parked");
  d.decide(0, first, 6, decision_kind::release);
  CHECK(d.machine->status().requests.empty());
}

TEST_CASE("rule 12: a fence that is not acknowledged in time parks the gang, holding nothing") {
  desk d({4});
  d.fences = false;
  d.gang(0, 4);
  d.wait(9s);
  CHECK(d.free() == 0);
  d.wait(2s);
  CHECK(d.free() == 4);
  CHECK(d.status(0).state == "parked");
  CHECK(d.last<ended>().cause == end_cause::expired);
  CHECK_FALSE(d.last<ended>().burnt);
}

TEST_CASE("park takes back a gang that waits, and it keeps its place") {
  desk d({4});
  d.gang(0, 4);
  d.gang(1, 4);
  d.gang(2, 4);
  d.decide(1, {}, 1, decision_kind::park);
  CHECK(d.last<ended>().cause == end_cause::gave_way);
  d.decide(0, d.last<placed>().attempt, 1, decision_kind::park);
  CHECK(d.status(2).state == "running");
  d.decide(1, {}, 2, decision_kind::again);
  d.decide(0, d.all<placed>()[0].attempt, 2, decision_kind::again);
  d.decide(2, d.last<placed>().attempt, 1, decision_kind::release);
  CHECK(d.status(0).state == "running");
  CHECK(d.status(1).state == "queued");
}

}  // namespace hydrogen::gang::testing::at_desk
