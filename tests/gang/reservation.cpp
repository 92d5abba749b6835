// What a node holds: entries from their reservation to their end.

#include "agent_node.hpp"

namespace hydrogen::gang::testing::at_agent {

TEST_CASE("a gang's part goes from reserve to its ranks' return, which frees its slots and is said until it is heard") {
  node n;
  const auto r = node::ref(1);
  n.reserve(r, 2);
  CHECK(n.last() == entry_news::reserved);
  CHECK(n.machine.free() == 2);
  n.verb(r, entry_verb::commit);
  CHECK(n.state(r) == entry_state::starting);
  n.ready();
  CHECK(n.last() == entry_news::committed);
  CHECK(n.news.back().endpoint == "e:1");
  n.go(r);
  CHECK(n.state(r) == entry_state::joining);
  n.executor_said(ranks_joined{r});
  CHECK(n.last() == entry_news::joined);
  n.verb(r, entry_verb::enter);
  CHECK(n.last() == entry_news::entered);
  CHECK(std::holds_alternative<enter_ranks>(n.told.back()));
  const auto told = n.told.size();
  n.executor_said(ranks_returned{r});
  CHECK(n.state(r) == entry_state::absent);
  CHECK(n.last() == entry_news::finished);
  CHECK(n.machine.free() == 4);
  auto said = n.news.size();
  n.wait(500ms);
  CHECK(n.news.size() == ++said);
  CHECK(n.last() == entry_news::finished);
  n.verb(r, entry_verb::close);  // was on its way
  CHECK(n.news.size() == ++said);
  CHECK(n.last() == entry_news::finished);
  n.on(event::coordinator_connected{});
  CHECK(std::get<enlist>(n.said.back()).finished == std::vector{r});
  n.verb(r, entry_verb::acknowledge_gone);
  n.on(event::coordinator_connected{});
  CHECK(std::get<enlist>(n.said.back()).finished.empty());
  n.order(enlisted{n.machine.term(), n.machine.boot(), std::get<enlist>(n.said.back()).list, {}});
  said = n.news.size();
  n.wait(10s);
  CHECK(n.news.size() == said);
  CHECK(n.told.size() == told);  // nothing is left at the executor
  n.reserve(r, 2);
  CHECK(n.last() == entry_news::refused);  // it cannot live again
}

TEST_CASE("an agent gives out no more memory and devices than it has, whatever it is asked for") {
  node n({.node = "n0", .slots = 4, .report_after = 0ms, .has = {8, {{"gpu", 2}}}});
  const auto ask = [&](std::uint32_t k, std::uint32_t slots, resources each) {
    n.order(reserve{n.term, n.machine.boot(), node::ref(1, k), request_kind::gang, app, slots, std::move(each)});
    return n.last();
  };
  CHECK(ask(0, 1, {5, {{"gpu", 1}}}) == entry_news::reserved);
  CHECK(ask(1, 1, {4, {}}) == entry_news::refused);
  CHECK(n.news.back().refusal == refusal_kind::busy);
  CHECK(ask(2, 2, {0, {{"gpu", 1}}}) == entry_news::refused);
  CHECK(ask(3, 1, {0, {{"tpu", 1}}}) == entry_news::refused);
  CHECK(n.machine.free() == 3);
  CHECK(ask(4, 1, {3, {{"gpu", 1}}}) == entry_news::reserved);
  n.verb(node::ref(1, 0), entry_verb::abort);
  CHECK(ask(5, 1, {5, {{"gpu", 1}}}) == entry_news::reserved);
}

TEST_CASE("devices are lent by number, whole, to one attempt at a time, and its slots share them as it asked") {
  node n({.node = "n0", .slots = 8, .report_after = 0ms, .has = {0, {{"gpu", 3}}}});
  const auto ask = [&](std::uint32_t k, std::uint32_t slots, std::uint32_t count, std::uint32_t shared_by) {
    const auto ref = node::ref(1, k);
    n.order(reserve{n.term, n.machine.boot(), ref, request_kind::gang, app, slots, {0, {{"gpu", count, shared_by}}}});
    const auto devices = n.machine.devices_of(ref);
    return devices.empty() ? std::vector<std::uint32_t>() : devices.front().numbers;
  };
  using numbers = std::vector<std::uint32_t>;
  CHECK(ask(0, 3, 1, 2) == numbers{0, 1});  // two share the first, the third has the second alone
  CHECK(ask(1, 4, 1, 2) == numbers{});      // two more are needed, one is there
  CHECK(ask(2, 4, 1, 4) == numbers{2});
  CHECK(ask(3, 1, 1, 1) == numbers{});
  n.verb(node::ref(1, 0), entry_verb::abort);
  CHECK(ask(4, 1, 1, 1) == numbers{0});
  CHECK(ask(5, 1, 1, 1) == numbers{1});
  const node_size size{8, {0, {{"gpu", 3}}}, {}};
  CHECK(size.room({{0, {{"gpu", 1, 4}}}, {}, {}}) == 8);
  CHECK(size.room({{0, {{"gpu", 2, 2}}}, {}, {}}) == 2);
}

TEST_CASE("a device whose user's executor died is lent again last") {
  node n({.node = "n0", .slots = 8, .report_after = 0ms, .has = {0, {{"gpu", 3}}}});
  using numbers = std::vector<std::uint32_t>;
  const auto ask = [&](std::uint32_t k, std::uint32_t count) {
    const auto ref = node::ref(1, k);
    n.order(reserve{n.term, n.machine.boot(), ref, request_kind::gang, app, 1, {0, {{"gpu", count}}}});
    const auto devices = n.machine.devices_of(ref);
    return devices.empty() ? numbers() : devices.front().numbers;
  };
  const auto die = [&](std::uint32_t k) {
    n.ready();
    n.verb(node::ref(1, k), entry_verb::commit);
    n.on(event::executor_died{run, n.executor, "killed"});
  };
  CHECK(ask(0, 1) == numbers{0});
  die(0);
  CHECK(ask(1, 1) == numbers{1});
  die(1);
  CHECK(ask(2, 1) == numbers{2});
  CHECK(ask(3, 1) == numbers{0});  // it failed before the other one
  CHECK(ask(4, 1) == numbers{1});
  for (const std::uint32_t k : {2, 3, 4}) n.verb(node::ref(1, k), entry_verb::abort);
  CHECK(ask(5, 2) == numbers{0, 2});
  n.verb(node::ref(1, 5), entry_verb::abort);
  CHECK(ask(6, 3) == numbers{0, 1, 2});
}

TEST_CASE("ranks may have joined, may be let in, and may have returned, before the go and the enter come") {
  for (const bool go_first : {true, false}) {
    CAPTURE(go_first);
    const auto r = node::ref(1);
    const auto begin = [&](node& n) {
      n.committed(r);
      if (go_first) n.go(r);
    };
    {
      node n;  // the last rank of all is here
      begin(n);
      n.executor_said(ranks_joined{r, true});
      CHECK(n.state(r) == entry_state::joining);
      CHECK(n.last() == entry_news::joined);
      CHECK(n.news.back().everyone);
      n.go(r);  // said again
      CHECK(n.news.back().everyone);
      n.verb(r, entry_verb::enter);
      CHECK(std::holds_alternative<enter_ranks>(n.told.back()));
    }
    {
      node n;  // it is elsewhere: the executor there opens the gate for all
      begin(n);
      n.verb(r, entry_verb::enter);
      CHECK(n.state(r) == entry_state::running);
      CHECK(n.last() == entry_news::entered);
      CHECK(n.told.empty());
    }
    {
      node n;  // those here were let in with the others, and are done
      begin(n);
      n.executor_said(ranks_returned{r});
      CHECK(n.last() == entry_news::finished);
      CHECK(n.machine.free() == 4);
      n.verb(r, entry_verb::enter);
      CHECK(n.last() == entry_news::finished);
    }
  }
}

TEST_CASE("a permission is passed on while ranks may wait, and changes nothing here") {
  node n;
  const auto r = node::ref(1);
  n.reserve(r, 2);
  n.verb(r, entry_verb::permit);
  CHECK(n.told.empty());
  n.verb(r, entry_verb::commit);
  n.ready();
  n.verb(r, entry_verb::permit);
  REQUIRE(n.told.size() == 1);
  CHECK(std::holds_alternative<permit_ranks>(n.told[0]));
  CHECK(n.state(r) == entry_state::committed);
  n.executor_said(ranks_returned{r});
  n.verb(r, entry_verb::permit);
  CHECK(n.told.size() == 1);
  CHECK(n.last() == entry_news::finished);
}

TEST_CASE("that ranks run is said when it lasts, or when it is asked for") {
  node n({.node = "n0", .slots = 4});
  const auto r = node::ref(1);
  const auto news = [&](entry_news what) {
    return std::count_if(n.news.begin(), n.news.end(), [&](const auto& x) { return x.news == what; });
  };
  n.running(r);
  CHECK(news(entry_news::entered) == 0);
  SUBCASE("it runs on") {
    n.wait(50ms);
    CHECK(news(entry_news::entered) == 1);
    n.executor_said(ranks_returned{r});
    CHECK(news(entry_news::finished) == 1);
  }
  SUBCASE("it is over before") {
    n.executor_said(ranks_returned{r});
    n.wait(50ms);
    CHECK(news(entry_news::entered) == 0);
    CHECK(news(entry_news::finished) == 1);
  }
  SUBCASE("the coordinator asks again") {
    n.verb(r, entry_verb::enter);
    CHECK(news(entry_news::entered) == 1);
    n.wait(50ms);
    CHECK(news(entry_news::entered) == 1);
  }
}

TEST_CASE("every order is answered again when it is repeated, in every later state") {
  node n;
  const auto r = node::ref(1);
  n.running(r);
  n.reserve(r, 2);
  CHECK(n.last() == entry_news::reserved);
  n.verb(r, entry_verb::commit);
  CHECK(n.last() == entry_news::committed);
  n.go(r);
  CHECK(n.last() == entry_news::joined);
  n.verb(r, entry_verb::enter);
  CHECK(n.last() == entry_news::entered);
  CHECK(n.machine.free() == 2);
}

TEST_CASE("rule 1: orders for another boot are not heard") {
  node n;
  n.order(gang::reserve{n.term, {78}, node::ref(1), request_kind::gang, app, 1});
  CHECK(n.news.empty());
  CHECK(n.machine.free() == 4);
}

TEST_CASE("rule 2: commit, go, enter, close, abort, revoke of something absent answer absent and leave a tombstone") {
  for (const auto v :
       {entry_verb::commit, entry_verb::enter, entry_verb::close, entry_verb::abort, entry_verb::revoke}) {
    node n;
    n.verb(node::ref(3), v);
    CHECK(n.last() == entry_news::absent);
    n.reserve(node::ref(3), 1);
    CHECK(n.last() == entry_news::refused);
    CHECK(n.news.back().refusal == refusal_kind::dead);
    n.reserve(node::ref(2), 1);
    CHECK(n.news.back().refusal == refusal_kind::dead);
    n.reserve(node::ref(4), 1);
    CHECK(n.last() == entry_news::reserved);
  }
  node n;
  n.go(node::ref(3));
  CHECK(n.last() == entry_news::absent);
}

TEST_CASE("rule 2: a live entry is matched before the tombstone of a later attempt") {
  node n;
  n.running(node::ref(1));
  n.reserve(node::ref(2), 4);  // busy: writes a tombstone
  CHECK(n.news.back().refusal == refusal_kind::busy);
  CHECK(n.state(node::ref(1)) == entry_state::running);
  n.verb(node::ref(1), entry_verb::enter);
  CHECK(n.last() == entry_news::entered);
}

TEST_CASE("a reservation expires by itself, says so until it is answered, and cannot be committed then") {
  node n;
  const auto r = node::ref(1);
  n.reserve(r, 2);
  n.wait(4s);
  n.reserve(r, 2);  // a repeat does not renew it
  n.wait(1s);
  CHECK(n.machine.free() == 4);
  CHECK(n.last() == entry_news::gone);
  const auto before = n.news.size();
  n.wait(500ms);
  CHECK(n.news.size() == before + 1);
  n.verb(r, entry_verb::acknowledge_gone);
  n.wait(500ms);
  CHECK(n.news.size() == before + 1);
  n.verb(r, entry_verb::commit);
  CHECK(n.last() == entry_news::absent);
}

TEST_CASE("with its executor up a reserve is committed at once, and expires unless a commit or the go comes") {
  for (const bool by_go : {false, true}) {
    node n;
    n.committed(node::ref(1, 8));  // starts the executor
    const auto told = n.told.size();
    const auto r = node::ref(1);
    n.reserve(r, 1);
    CHECK(n.last() == entry_news::committed);
    CHECK(n.news.back().executor == n.executor);
    CHECK(n.news.back().endpoint == "e:1");
    n.reserve(r, 1);  // a repeat is answered the same, and renews nothing
    CHECK(n.last() == entry_news::committed);
    CHECK(n.machine.free() == 1);
    n.wait(4s);
    if (by_go) {
      n.go(r);
    } else {
      n.verb(r, entry_verb::commit);
      CHECK(n.last() == entry_news::committed);
      CHECK(n.told.size() == told);
    }
    n.wait(2s);
    CHECK(n.state(r) == (by_go ? entry_state::joining : entry_state::committed));

    const auto late = node::ref(1, 1);
    n.reserve(late, 1);
    n.wait(5s);
    CHECK(n.state(late) == entry_state::draining);  // its job may have sent ranks
    n.executor_said(attempt_stopped{late});
    CHECK(n.state(late) == entry_state::absent);
    CHECK(n.last() == entry_news::gone);
    CHECK(n.news.back().refusal == refusal_kind::busy);
    CHECK(n.machine.free() == 1);
    n.go(late);
    CHECK(n.last() == entry_news::gone);
    CHECK(n.state(late) == entry_state::absent);
  }
}

TEST_CASE("what an executor may know of ends through it: a gang once it is committed, a lease from its go on") {
  node n;
  const auto waiting = node::ref(1, 1);
  n.reserve(waiting, 1);
  n.verb(waiting, entry_verb::abort);
  CHECK(n.last() == entry_news::gone);
  const auto gang = node::ref(1);
  n.committed(gang);
  CHECK(n.told.empty());  // its job tells
  n.verb(gang, entry_verb::revoke);
  CHECK(n.state(gang) == entry_state::draining);
  REQUIRE(n.told.size() == 1);
  REQUIRE(std::holds_alternative<stop_attempt>(n.told[0]));
  CHECK(std::get<stop_attempt>(n.told[0]).why.code == errc::aborted);
  CHECK(std::get<stop_attempt>(n.told[0]).why.what == "the attempt was ended by the coordinator");
  CHECK(n.machine.free() == 2);
  n.executor_said(attempt_stopped{gang});
  CHECK(n.last() == entry_news::gone);
  CHECK(n.machine.free() == 4);
  const auto before_go = node::ref(2);
  n.reserve(before_go, 2);
  CHECK(n.last() == entry_news::committed);
  n.verb(before_go, entry_verb::abort);  // its job has never heard of it
  CHECK(n.last() == entry_news::gone);
  const auto lease = node::ref(1, 2);
  n.reserve(lease, 1, request_kind::parallel);
  CHECK(n.state(lease) == entry_state::committed);
  n.verb(lease, entry_verb::abort);
  CHECK(n.last() == entry_news::gone);
  CHECK(n.told.size() == 1);
  const auto next = node::ref(2, 2);
  n.reserve(next, 1, request_kind::parallel);
  n.go(next);
  REQUIRE(n.told.size() == 2);
  CHECK(std::holds_alternative<accept_lease>(n.told[1]));
  n.verb(next, entry_verb::close);
  CHECK(n.state(next) == entry_state::draining);
}

TEST_CASE("the death of an executor ends what is committed to it, though it had not heard of that") {
  node n;
  n.committed(node::ref(1));
  n.said.clear();
  n.on(event::executor_died{run, n.executor, "killed"});
  CHECK(n.state(node::ref(1)) == entry_state::absent);
  CHECK(n.news.back().cause == end_cause::lost);
  // A job that hears that its attempt has ended is to know why.
  REQUIRE(n.said.size() == 2);
  CHECK(std::holds_alternative<executor_lost>(n.said[0]));
  CHECK(std::holds_alternative<entry_report_news>(n.said[1]));
  CHECK(n.machine.free() == 4);
}

}  // namespace hydrogen::gang::testing::at_agent
