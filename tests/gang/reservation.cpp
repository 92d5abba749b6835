#include <hydrogen/gang/reservation.hpp>

#include <doctest/doctest.h>

#include <algorithm>

using namespace hydrogen;
using namespace hydrogen::gang;
namespace event = reservation_event;
namespace effect = reservation_effect;

namespace {

const run_id run{1, 1};
const application_ref app{run, "app", "", {}, 0, {}, ""};

struct node {
  reservation_options options{.node = "n0", .slots = 4, .report_after = 0ms};
  reservation machine{options, {77}};
  time_point now{};
  term_id term{1};
  boot_id executor;
  std::vector<entry_report_news> news;
  std::vector<from_agent> said;
  std::vector<to_executor> told;
  std::vector<boot_id> ended;

  node() { on(event::coordinator_connected{}); }
  explicit node(reservation_options o) : options(std::move(o)) { on(event::coordinator_connected{}); }

  void on(const reservation::event& e) {
    for (const auto& x : machine.on(e, now)) {
      if (const auto* c = std::get_if<effect::tell_coordinator>(&x)) {
        said.push_back(c->message);
        if (const auto* n = std::get_if<entry_report_news>(&c->message)) news.push_back(*n);
      } else if (const auto* t = std::get_if<effect::tell_executor>(&x)) {
        told.push_back(t->message);
      } else if (const auto* s = std::get_if<effect::start_executor>(&x)) {
        executor = s->executor;
      } else if (const auto* d = std::get_if<effect::end_executor>(&x)) {
        ended.push_back(d->executor);
      }
    }
  }
  void order(to_agent m) { on(event::coordinator_said{std::move(m)}); }
  static attempt_ref ref(std::uint64_t attempt, std::uint32_t stage = 0) {
    return {{run, 0, stage, 0}, {{1}, attempt}};
  }
  void reserve(attempt_ref r, std::uint32_t slots, request_kind kind = request_kind::gang) {
    order(gang::reserve{term, machine.boot(), r, kind, app, slots});
  }
  void verb(attempt_ref r, entry_verb v) { order(entry_order{term, machine.boot(), r, v}); }
  void ready() { on(event::executor_ready{run, executor, "e:1"}); }
  void go(attempt_ref r) { verb(r, entry_verb::go); }
  void executor_said(from_executor m) { on(event::executor_said{executor, std::move(m)}); }
  void wait(duration d) {
    now += d;
    on(event::timer{});
  }
  entry_news last() const { return news.back().news; }
  entry_state state(attempt_ref r) const {
    for (const auto& e : machine.entries()) {
      if (e.ref == r) return e.state;
    }
    return entry_state::absent;
  }
  void committed(attempt_ref r, std::uint32_t slots = 2) {
    reserve(r, slots);
    verb(r, entry_verb::commit);
    if (state(r) == entry_state::starting) ready();
  }
  void running(attempt_ref r) {
    committed(r);
    go(r);
    executor_said(ranks_joined{r});
    verb(r, entry_verb::enter);
  }
};

}  // namespace

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
  n.verb(r, entry_verb::acknowledge_gone);
  n.wait(10s);
  CHECK(n.news.size() == said);
  CHECK(n.told.size() == told);  // nothing is left at the executor
  n.reserve(r, 2);
  CHECK(n.last() == entry_news::refused);  // it cannot live again
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
  n.verb(gang, entry_verb::abort);
  CHECK(n.state(gang) == entry_state::draining);
  REQUIRE(n.told.size() == 1);
  CHECK(std::holds_alternative<stop_attempt>(n.told[0]));
  CHECK(n.machine.free() == 2);
  n.executor_said(attempt_stopped{gang});
  CHECK(n.last() == entry_news::gone);
  CHECK(n.machine.free() == 4);
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
  CHECK(n.news.back().detail.code == errc::timed_out);
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
  CHECK(n.news.back().detail.code == errc::timed_out);
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
