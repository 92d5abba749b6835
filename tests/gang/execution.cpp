#include <hydrogen/gang/execution.hpp>

#include <doctest/doctest.h>

#include <algorithm>

namespace hydrogen::gang::testing::at_executor {

namespace event = execution_event;
namespace effect = execution_effect;

namespace {

const run_id run{1, 1};

struct host {
  execution machine{{.run = run, .most_early = 3, .most_over = 2}};
  time_point now{};
  execution::effects all;
  std::vector<task_id> came, pushed, refused, withdrawn;
  std::vector<attempt_ref> opened, closed, entered, permitted, with_threads;
  std::vector<from_executor> reports;
  bool ended = false;

  void on(event::any e) {
    execution::effects out;
    machine.on(std::move(e), now, out);
    for (auto& x : out) {
      if (const auto* o = std::get_if<effect::open_lane>(&x)) opened.push_back(o->ref);
      if (const auto* c = std::get_if<effect::come>(&x)) came.push_back(c->task->id);
      if (const auto* p = std::get_if<effect::push>(&x)) pushed.push_back(p->task->id);
      if (const auto* r = std::get_if<effect::refuse>(&x)) refused.push_back(r->task->id);
      if (const auto* w = std::get_if<effect::withdraw>(&x)) withdrawn.push_back(w->task);
      if (const auto* c = std::get_if<effect::close_lane>(&x)) closed.push_back(c->ref);
      if (const auto* n = std::get_if<effect::enter>(&x)) entered.push_back(n->ref);
      if (const auto* n = std::get_if<effect::permit>(&x)) permitted.push_back(n->ref);
      if (const auto* t = std::get_if<effect::start_threads>(&x)) with_threads.push_back(t->ref);
      if (const auto* m = std::get_if<effect::report>(&x)) reports.push_back(m->message);
      if (std::holds_alternative<effect::ended>(x)) ended = true;
      all.push_back(std::move(x));
    }
  }
  static attempt_ref ref(std::uint64_t attempt, std::uint32_t stage = 0) {
    return {{run, 0, stage, 0}, {{1}, attempt}};
  }
  static task_id id(std::uint32_t partition, std::uint32_t attempt = 0, std::uint32_t stage = 0) {
    return {run, 0, stage, partition, attempt};
  }
  void agent(to_executor m) { on(event::agent_said{std::move(m)}); }
  void lease(attempt_ref r) { agent(accept_lease{r, 2}); }
  /// Two ranks here, the others, if there are any, at other executors: of this process, or also of another one.
  void gang(attempt_ref r, bool in_process) { on(event::gang_came{std::make_shared<hosted_gang>(r, 2, in_process)}); }
  void task(attempt_ref r, task_id t) { on(event::task_came{std::make_shared<hosted_task>(t, r)}); }
  void wait(duration d) {
    now += d;
    on(event::timer{});
  }
  template <class M>
  std::size_t reported() const {
    std::size_t n = 0;
    for (const auto& m : reports) n += std::holds_alternative<M>(m) ? 1 : 0;
    return n;
  }
};
using ids = std::vector<task_id>;

}  // namespace

TEST_CASE("tasks of a lease run at once, a repeated one not again") {
  host h;
  h.lease(h.ref(1));
  h.lease(h.ref(1));
  CHECK(h.opened.size() == 1);
  for (int i = 0; i < 2; ++i) h.task(h.ref(1), h.id(0));
  h.task(h.ref(1), h.id(0, 1));
  h.task(h.ref(1), h.id(7));
  CHECK(h.pushed == ids{h.id(0), h.id(0, 1), h.id(7)});
  CHECK(h.refused.empty());
}

TEST_CASE("a task that comes before its attempt waits for it, and runs when it comes") {
  host h;
  h.task(h.ref(1), h.id(0));
  h.task(h.ref(1), h.id(1));
  CHECK(h.pushed.empty());
  CHECK(h.machine.next_wakeup() == h.now + 500ms);
  h.wait(499ms);
  CHECK(h.refused.empty());
  h.lease(h.ref(1));
  CHECK(h.pushed == ids{h.id(0), h.id(1)});
  CHECK(h.machine.next_wakeup() == never);
}

TEST_CASE("early tasks are refused when their attempt does not come, and beyond their number") {
  host h;
  for (std::uint32_t p = 0; p < 4; ++p) h.task(h.ref(1), h.id(p));
  CHECK(h.refused == ids{h.id(3)});
  h.wait(500ms);
  CHECK(h.refused == ids{h.id(3), h.id(0), h.id(1), h.id(2)});
  CHECK(h.machine.next_wakeup() == never);
  h.lease(h.ref(1));
  h.task(h.ref(1), h.id(0));  // its job repeats it
  CHECK(h.pushed == ids{h.id(0)});
}

TEST_CASE("tasks of an attempt that stops or is over, and of other runs, are refused at once") {
  host h;
  h.lease(h.ref(1));
  h.agent(stop_attempt{h.ref(1), {}});
  h.agent(stop_attempt{h.ref(1), {}});
  CHECK(h.closed.size() == 1);
  h.task(h.ref(1), h.id(0));
  CHECK(h.refused.size() == 1);
  CHECK(h.reports.empty());
  h.on(event::lane_idle{h.ref(1)});
  CHECK(h.reported<attempt_stopped>() == 1);
  h.task(h.ref(1), h.id(1));
  CHECK(h.refused.size() == 2);
  h.task({{{9, 9}, 0, 0, 0}, {{1}, 1}}, {{9, 9}, 0, 0, 0, 0});
  CHECK(h.refused.size() == 3);
}

TEST_CASE("a stop for what is not held is confirmed, and refuses the tasks that wait for it") {
  host h;
  h.task(h.ref(1), h.id(0));
  h.agent(stop_attempt{h.ref(1), {}});
  CHECK(h.reported<attempt_stopped>() == 1);
  CHECK(h.refused == ids{h.id(0)});
  h.task(h.ref(1), h.id(1));
  CHECK(h.refused.size() == 2);
  // Only the last ones are remembered, each once.
  h.agent(stop_attempt{h.ref(2), {}});
  h.agent(stop_attempt{h.ref(2), {}});
  h.task(h.ref(1), h.id(1));
  CHECK(h.refused.size() == 3);
  h.agent(stop_attempt{h.ref(3), {}});
  h.task(h.ref(1), h.id(2));
  CHECK(h.refused.size() == 3);
}

TEST_CASE("ranks with peers elsewhere are pushed when their gang and their task are there, and join one by one") {
  host h;
  h.task(h.ref(1), h.id(0));
  CHECK(h.pushed.empty());
  h.gang(h.ref(1), false);
  h.gang(h.ref(1), false);
  CHECK(h.opened.size() == 1);
  CHECK(h.pushed == ids{h.id(0)});
  h.task(h.ref(1), h.id(1));
  h.task(h.ref(1), h.id(1, 1));  // a rank runs once in an attempt
  CHECK(h.pushed == ids{h.id(0), h.id(1)});
  h.on(event::rank_joined{h.ref(1)});
  CHECK(h.reported<ranks_joined>() == 0);
  h.on(event::rank_joined{h.ref(1)});
  CHECK(h.reported<ranks_joined>() == 1);
  CHECK(h.entered.empty());
  h.agent(enter_ranks{h.ref(1)});
  h.agent(enter_ranks{h.ref(1)});
  CHECK(h.entered.size() == 1);
  h.on(event::rank_returned{h.ref(1)});
  CHECK(h.closed.empty());
  h.on(event::rank_returned{h.ref(1)});
  CHECK(h.closed.size() == 1);
  CHECK(h.reported<ranks_returned>() == 0);
  SUBCASE("when nothing of it is left here, that is said, and the attempt is over") {
    h.on(event::lane_idle{h.ref(1)});
    CHECK(h.reported<ranks_returned>() == 1);
    CHECK(h.reported<attempt_stopped>() == 0);
    h.task(h.ref(1), h.id(0));
    CHECK(h.refused.size() == 1);
    h.agent(stop_attempt{h.ref(1), {}});  // it crossed the word
    CHECK(h.reported<attempt_stopped>() == 1);
    h.gang(h.ref(1), false);  // repeated late: it does not live again
    CHECK(h.opened.size() == 1);
  }
  SUBCASE("a stop that comes before that is what is confirmed") {
    h.agent(stop_attempt{h.ref(1), {}});
    CHECK(h.closed.size() == 1);
    h.on(event::lane_idle{h.ref(1)});
    CHECK(h.reported<ranks_returned>() == 0);
    CHECK(h.reported<attempt_stopped>() == 1);
  }
}

TEST_CASE("ranks that all live in this process meet without threads, and the last one speaks for all") {
  for (const bool table_first : {true, false}) {
    host h;
    if (table_first) h.gang(h.ref(1), true);
    h.task(h.ref(1), h.id(1));
    CHECK(h.came.size() == (table_first ? 1 : 0));
    h.task(h.ref(1), h.id(0));
    if (!table_first) h.gang(h.ref(1), true);
    CHECK(h.came == ids{h.id(1), h.id(0)});
    CHECK(h.reported<ranks_joined>() == 0);
    h.on(event::rank_joined{h.ref(1), true, "one process"});
    CHECK(h.reported<ranks_joined>() == 1);
    CHECK(h.pushed.empty());  // their lane holds them until the gate opens
    h.agent(permit_ranks{h.ref(1)});
    CHECK(h.permitted.size() == 1);
    h.agent(enter_ranks{h.ref(1)});
    h.agent(enter_ranks{h.ref(1)});
    CHECK(h.entered.size() == 1);
    CHECK(h.pushed.empty());
    CHECK(h.machine.next_wakeup() == never);
    h.wait(1s);
    CHECK(h.with_threads.empty());
    h.on(event::rank_returned{h.ref(1)});
    h.on(event::rank_returned{h.ref(1)});
    h.on(event::lane_idle{h.ref(1)});
    CHECK(h.reported<ranks_returned>() == 1);
  }
}

TEST_CASE("a permission for ranks that all live in this process is given to their gate, whenever it comes") {
  for (const int permission : {0, 1, 2, 3}) {
    host h;
    const auto step = [&](int n) {
      if (n == permission) h.agent(permit_ranks{h.ref(1)});
    };
    step(0);
    h.gang(h.ref(1), true);
    step(1);
    h.task(h.ref(1), h.id(0));
    step(2);
    h.task(h.ref(1), h.id(1));
    step(3);
    CHECK(h.permitted.size() == 1);
    CHECK(h.came == ids{h.id(0), h.id(1)});
    CHECK(h.pushed.empty());
  }
}

TEST_CASE("ranks that have met without threads get some to wait with when they may not enter soon") {
  for (const bool permitted : {false, true}) {
    host h;
    h.gang(h.ref(1), true);
    h.task(h.ref(1), h.id(0));
    if (permitted) h.agent(permit_ranks{h.ref(1)});
    CHECK(h.machine.next_wakeup() == h.now + 50ms);
    h.wait(49ms);
    CHECK(h.with_threads.empty());
    h.wait(1ms);
    CHECK(h.with_threads.size() == 1);
    CHECK(h.machine.next_wakeup() == never);
    h.task(h.ref(1), h.id(1));  // with a thread of its own at once
    CHECK(h.came == ids{h.id(0)});
    CHECK(h.pushed == ids{h.id(1)});
    h.on(event::rank_joined{h.ref(1)});  // a slow one, for itself
    CHECK(h.reported<ranks_joined>() == 0);
    h.on(event::rank_joined{h.ref(1), true});
    h.on(event::rank_joined{h.ref(1)});  // adds nothing
    CHECK(h.reported<ranks_joined>() == 1);
    CHECK(h.permitted.size() == (permitted ? 1 : 0));
    h.agent(enter_ranks{h.ref(1)});
    CHECK(h.entered.size() == 1);
  }
}

TEST_CASE(
    "ranks of a host are pushed, and their threads are told when they may not enter soon, to see what is missing") {
  for (const bool entered : {false, true}) {
    host h;
    h.on(event::gang_came{std::make_shared<hosted_gang>(h.ref(1), 2, false, true)});
    h.task(h.ref(1), h.id(0));
    CHECK(h.machine.next_wakeup() == h.now + 500ms);
    h.task(h.ref(1), h.id(1));
    CHECK(h.came.empty());
    CHECK(h.pushed == ids{h.id(0), h.id(1)});
    if (entered) h.agent(enter_ranks{h.ref(1)});
    h.wait(499ms);
    CHECK(h.with_threads.empty());
    h.wait(1ms);
    CHECK(h.with_threads.size() == (entered ? 0 : 1));
    CHECK(h.machine.next_wakeup() == never);
  }
}

TEST_CASE("ranks that have met without threads are taken out of their lane by a stop and by a cancel") {
  host h;
  h.gang(h.ref(1), true);
  h.task(h.ref(1), h.id(0));
  h.on(event::cancel{h.id(0), "not needed"});
  CHECK(h.withdrawn == ids{h.id(0)});
  h.on(event::withdrawn{h.ref(1), h.id(0)});
  h.task(h.ref(1), h.id(0));  // its job has thought better of it
  CHECK(h.came == ids{h.id(0), h.id(0)});
  h.agent(stop_attempt{h.ref(1), {}});
  CHECK(h.machine.next_wakeup() == never);
  h.agent(enter_ranks{h.ref(1)});
  h.wait(50ms);
  CHECK(h.with_threads.empty());
  CHECK(h.entered.empty());
  CHECK(h.closed.size() == 1);
}

TEST_CASE("the rank that completes a gang of several executors speaks for everyone") {
  host h;
  h.gang(h.ref(1), false);
  h.task(h.ref(1), h.id(0));
  h.task(h.ref(1), h.id(1));
  h.on(event::rank_joined{h.ref(1)});  // a slow one, for itself
  CHECK(h.reported<ranks_joined>() == 0);
  h.on(event::rank_joined{h.ref(1), true});
  REQUIRE(h.reported<ranks_joined>() == 1);
  CHECK(std::get<ranks_joined>(h.reports.back()).everyone);
  h.agent(enter_ranks{h.ref(1)});
  CHECK(h.entered.size() == 1);
}

TEST_CASE("an enter before the gang, or after a stop, lets nobody in") {
  host h;
  h.task(h.ref(1), h.id(0));
  h.task(h.ref(1), h.id(1));
  h.agent(enter_ranks{h.ref(1)});
  CHECK(h.entered.empty());
  h.gang(h.ref(1), true);
  h.agent(stop_attempt{h.ref(1), {}});
  h.agent(enter_ranks{h.ref(1)});
  CHECK(h.entered.empty());
  CHECK(h.closed.size() == 1);
}

TEST_CASE("a gang that has no rank here, or is of another run, opens nothing, and its tasks are refused") {
  host h;
  const attempt_ref elsewhere{{{9, 9}, 0, 0, 0}, {{1}, 1}};
  h.gang(elsewhere, false);
  h.on(event::gang_came{std::make_shared<hosted_gang>(h.ref(1), 0, true)});
  CHECK(h.opened.empty());
  h.task(h.ref(1), h.id(0));
  h.task(elsewhere, {{9, 9}, 0, 0, 0, 0});
  h.wait(500ms);
  CHECK(h.refused.size() == 2);
}

TEST_CASE("a permission that comes before its gang waits for it; one that is late changes nothing") {
  host h;
  const auto permits = [&] {
    return std::count_if(h.all.begin(), h.all.end(),
                         [](const auto& e) { return std::holds_alternative<effect::permit>(e); });
  };
  h.agent(permit_ranks{h.ref(1)});
  CHECK(permits() == 0);
  h.gang(h.ref(1), false);
  CHECK(permits() == 1);
  CHECK(std::holds_alternative<effect::permit>(h.all.back()));  // behind the lane
  h.agent(permit_ranks{h.ref(1)});
  CHECK(permits() == 2);
  h.agent(stop_attempt{h.ref(1), {}});
  h.agent(permit_ranks{h.ref(1)});
  h.on(event::lane_idle{h.ref(1)});
  h.agent(permit_ranks{h.ref(1)});
  h.gang(h.ref(1), false);
  CHECK(permits() == 2);
  h.lease(h.ref(2));
  h.agent(permit_ranks{h.ref(2)});
  CHECK(permits() == 2);
}

TEST_CASE("a cancelled task is taken out wherever it waits, and may come again") {
  host h;
  h.task(h.ref(1), h.id(0));
  h.on(event::cancel{h.id(0), "not needed"});
  h.lease(h.ref(1));
  CHECK(h.pushed.empty());
  h.task(h.ref(1), h.id(1));
  h.on(event::cancel{h.id(1), "not needed"});
  h.on(event::cancel{h.id(2), "never seen"});
  CHECK(h.withdrawn == ids{h.id(1)});
  h.task(h.ref(1), h.id(1));  // it runs: the host did not find it waiting
  CHECK(h.pushed.size() == 1);
  h.on(event::withdrawn{h.ref(1), h.id(1)});
  h.task(h.ref(1), h.id(1));
  CHECK(h.pushed.size() == 2);
  h.gang(h.ref(2, 1), false);
  h.task(h.ref(2, 1), h.id(0, 0, 1));
  h.on(event::cancel{h.id(0, 0, 1), "not needed"});
  h.on(event::withdrawn{h.ref(2, 1), h.id(0, 0, 1)});
  h.task(h.ref(2, 1), h.id(0, 0, 1));
  CHECK(h.pushed.size() == 4);
}

TEST_CASE("an executor that is to end stops everything, takes nothing more and is over when all lanes are idle") {
  host h;
  h.lease(h.ref(1));
  h.gang(h.ref(2, 1), false);
  h.on(event::end{});
  CHECK(h.closed.size() == 2);
  h.task(h.ref(3), h.id(0));
  CHECK(h.refused.size() == 1);
  h.on(event::lane_idle{h.ref(1)});
  CHECK(!h.ended);
  h.on(event::lane_idle{h.ref(2, 1)});
  CHECK(h.ended);
  host idle;
  idle.on(event::end{});
  CHECK(idle.ended);
}

}  // namespace hydrogen::gang::testing::at_executor
