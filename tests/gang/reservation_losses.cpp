// What a node does when a coordinator, an executor, or it itself is lost; terms, lists, the end of a run.

#include "agent_node.hpp"

namespace hydrogen::gang::testing::at_agent {

TEST_CASE("rule 3: the term is adopted before the list is taken, and lower ones are refused") {
  node n;
  n.order(follow{{5}, {77}});
  const auto& list = std::get<enlist>(n.said.back());
  CHECK(list.seen == term_id{5});
  n.term = {4};
  const auto before = n.said.size();
  n.reserve(node::ref(1), 1);
  CHECK(n.said.size() == before);
  CHECK(n.machine.free() == 4);
}

TEST_CASE("the list is repeated until it is answered on this connection") {
  node n;
  n.order(follow{{1}, {77}});
  const auto number = std::get<enlist>(n.said.back()).list;
  n.wait(500ms);
  CHECK(std::get<enlist>(n.said.back()).list == number + 1);
  n.order(enlisted{{1}, {77}, number, {}});
  CHECK(n.machine.is_enlisted());
  n.on(event::coordinator_lost{});
  n.on(event::coordinator_connected{});
  n.order(enlisted{{1}, {77}, number, {}});  // late, of the connection before
  CHECK_FALSE(n.machine.is_enlisted());
}

TEST_CASE("a refused library and a failed start are told apart") {
  for (const auto kind : {refusal_kind::application, refusal_kind::executor}) {
    node n;
    n.reserve(node::ref(1), 2);
    n.verb(node::ref(1), entry_verb::commit);
    n.on(event::executor_failed{run, n.executor, kind, {errc::not_found, "no", {}, {}}});
    CHECK(n.last() == entry_news::gone);
    CHECK(n.news.back().refusal == kind);
    CHECK(n.news.back().executor == n.executor);
    CHECK(n.machine.free() == 4);
  }
}

TEST_CASE("an executor that starts too slowly is ended, and only its death frees the slots") {
  node n;
  n.reserve(node::ref(1), 2);
  n.verb(node::ref(1), entry_verb::commit);
  n.wait(60s);
  REQUIRE(n.ended.size() == 1);
  CHECK(n.machine.free() == 2);
  n.on(event::executor_failed{run, n.executor, refusal_kind::executor, {errc::io, "killed", {}, {}}});
  CHECK(n.machine.free() == 4);
  CHECK(n.news.back().refusal == refusal_kind::executor);
  REQUIRE(n.news.back().detail);
  CHECK(n.news.back().detail->code == errc::timed_out);
}

TEST_CASE("one executor serves all attempts of its run; its death ends them all and is reported until noted") {
  node n;
  n.running(node::ref(1));
  const auto first = n.executor;
  n.committed(node::ref(1, 9), 1);
  CHECK(n.executor == first);
  n.on(event::executor_died{run, first, "killed"});
  CHECK(n.machine.free() == 4);
  const auto lost = [&] {
    return std::count_if(n.said.begin(), n.said.end(),
                         [](const auto& m) { return std::holds_alternative<executor_lost>(m); });
  };
  CHECK(lost() == 1);
  n.wait(500ms);
  CHECK(lost() == 2);
  n.order(lost_noted{n.term, {77}, first});
  n.wait(500ms);
  CHECK(lost() == 2);
}

TEST_CASE("what does not stop in time loses its executor, and the slots are free only then") {
  node n;
  n.running(node::ref(1));
  n.verb(node::ref(1), entry_verb::revoke);
  CHECK(std::holds_alternative<stop_attempt>(n.told.back()));
  n.wait(1s);
  CHECK(n.ended.empty());
  n.wait(1s);
  REQUIRE(n.ended.size() == 1);
  CHECK(n.machine.free() == 2);
  n.on(event::executor_died{run, n.executor, "ended"});
  CHECK(n.machine.free() == 4);
  CHECK(n.last() == entry_news::gone);
}

TEST_CASE("a commit while the old executor is being ended waits for the next one") {
  node n;
  n.running(node::ref(1));
  const auto first = n.executor;
  n.verb(node::ref(1), entry_verb::revoke);
  n.wait(2s);
  n.reserve(node::ref(2), 2);
  n.verb(node::ref(2), entry_verb::commit);
  CHECK(n.executor == first);
  n.on(event::executor_died{run, first, "ended"});
  CHECK(n.executor != first);
  n.ready();
  CHECK(n.state(node::ref(2)) == entry_state::committed);
}

TEST_CASE("ranks that do not join in time end the part with a reason") {
  node n;
  n.committed(node::ref(1));
  n.go(node::ref(1));
  n.wait(30s);
  CHECK(n.state(node::ref(1)) == entry_state::draining);
  n.executor_said(attempt_stopped{node::ref(1)});
  CHECK(n.news.back().cause == end_cause::expired);
  REQUIRE(n.news.back().detail);
  CHECK(n.news.back().detail->code == errc::timed_out);
}

TEST_CASE("without a coordinator everything ends by itself, soon what waits, late what runs") {
  node n;
  n.running(node::ref(1));
  n.committed(node::ref(1, 2), 1);
  n.reserve(node::ref(1, 3), 1);
  n.on(event::coordinator_lost{});
  n.wait(5s);
  CHECK(n.state(node::ref(1, 3)) == entry_state::draining);
  n.executor_said(attempt_stopped{node::ref(1, 3)});
  CHECK(n.state(node::ref(1, 3)) == entry_state::absent);
  CHECK(n.state(node::ref(1, 2)) == entry_state::committed);
  n.wait(5s);
  CHECK(n.state(node::ref(1, 2)) == entry_state::draining);
  n.executor_said(attempt_stopped{node::ref(1, 2)});
  CHECK(n.state(node::ref(1, 2)) == entry_state::absent);
  CHECK(n.state(node::ref(1)) == entry_state::running);
  n.wait(15min);
  n.executor_said(attempt_stopped{node::ref(1)});
  CHECK(n.machine.free() == 4);
  n.wait(1s);
  CHECK(n.ended == std::vector<boot_id>{n.executor});
}

TEST_CASE("rule 5: an agent that is declared dead takes a new boot only when all its executors are gone") {
  node n;
  n.running(node::ref(1));
  n.order(expelled{n.term, {77}});
  CHECK(n.machine.boot() == boot_id{77});
  CHECK(n.ended.size() == 1);
  n.on(event::executor_died{run, n.executor, "ended"});
  CHECK(n.machine.boot() != boot_id{77});
  CHECK(n.machine.free() == 4);
}

TEST_CASE("an agent that waits for its end asks for no wake-up that would change nothing") {
  node n;
  n.reserve(node::ref(1), 1);
  n.wait(5s);  // expired: `gone` is being repeated
  n.running(node::ref(2));
  n.on(event::coordinator_lost{});
  n.order(expelled{n.term, {77}});
  n.on(event::coordinator_connected{});
  for (int i = 0; i < 10 && n.machine.next_wakeup() != never; ++i) {
    const auto next = n.machine.next_wakeup();
    n.now = std::max(n.now, next);
    n.on(event::timer{});
    CHECK(n.machine.next_wakeup() > next);
  }
}

TEST_CASE("the end of a run ends its executor and whatever is left, then says so; also when there was nothing") {
  node n;
  n.running(node::ref(1));
  n.order(end_executors{n.term, {77}, run});
  REQUIRE(n.ended.size() == 1);
  n.on(event::executor_died{run, n.executor, "ended"});
  CHECK(std::any_of(n.said.begin(), n.said.end(),
                    [](const auto& m) { return std::holds_alternative<executors_ended>(m); }));
  CHECK(n.machine.free() == 4);
  n.order(end_executors{n.term, {77}, {9, 9}});
  CHECK(std::get<executors_ended>(n.said.back()).run == run_id{9, 9});
}

TEST_CASE("a lease runs at go, without joining") {
  node n;
  n.reserve(node::ref(1), 1, request_kind::parallel);
  n.verb(node::ref(1), entry_verb::commit);
  n.ready();
  n.go(node::ref(1));
  CHECK(n.state(node::ref(1)) == entry_state::running);
  CHECK(n.last() == entry_news::entered);
}

}  // namespace hydrogen::gang::testing::at_agent
