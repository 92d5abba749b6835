#include <hydrogen/gang/admission.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <set>

using namespace hydrogen;
using namespace hydrogen::gang;
namespace event = admission_event;
namespace effect = admission_effect;

namespace {

const run_id run{1, 1};
const application_ref app{run, "app", "", {}, 0, {}, ""};

/// A coordinator with agents and a job that answer at once and rightly, unless told to be silent.
struct desk {
  admission_options options{.expected_nodes = 1};
  std::vector<record> records;  // appended so far
  std::size_t durable = 0;
  bool asked_to_sync = false;
  std::optional<admission> machine;
  time_point now{};
  bool syncs = true, agents_answer = true, joins = true, ends = true, fences = true;
  bool warm = false;    // agents commit with the reserve
  bool returns = true;  // the ranks of a gang that is released have returned
  std::vector<to_agent> orders;
  std::set<attempt_ref> leases;
  std::vector<to_job> told;
  std::vector<boot_id> nodes;

  explicit desk(std::vector<std::uint32_t> slots, admission_options o = {.expected_nodes = 1}) : options(o) {
    options.sync_after = 0ms;
    restart();
    begin();
    for (const auto n : slots) add_node({100 + nodes.size()}, n);
  }
  void restart() {
    records.resize(durable);
    machine.emplace(options, records, now);
    take(machine->start(now));
  }
  void begin() { job(begin_run{app}); }
  void add_node(boot_id boot, std::uint32_t slots, std::vector<entry_report> entries = {}) {
    nodes.push_back(boot);
    agent(enlist{
        boot, std::string("n").append(std::to_string(boot.value)), slots, 1, machine->term(), std::move(entries), {}});
  }

  void on(const admission::event& e) { take(machine->on(e, now)); }
  void job(from_job m) { on(event::job_said{run, std::move(m)}); }
  void agent(from_agent m) { on(event::agent_said{std::move(m)}); }
  void news(boot_id from, attempt_ref ref, entry_news what, refusal_kind refusal = refusal_kind::none,
            boot_id executor = {}) {
    entry_report_news n;
    n.term = machine->term();
    n.agent = from;
    n.ref = ref;
    n.news = what;
    n.refusal = refusal;
    n.executor = executor ? executor : boot_id{from.value + 1000};
    if (refusal != refusal_kind::none) n.detail = {errc::io, "refused for a test", {}, {}};
    agent(n);
  }
  entry_report_news everyone_joined(boot_id from, const attempt_ref& ref) const {
    entry_report_news n;
    n.term = machine->term();
    n.agent = from;
    n.ref = ref;
    n.news = entry_news::joined;
    n.everyone = true;
    return n;
  }
  void wait(duration d) {
    const auto end = now + d;
    while (machine->next_wakeup() <= end) {
      now = std::max(now, machine->next_wakeup());
      on(event::timer{});
    }
    now = end;
  }

  void take(admission::effects effects) {
    for (auto& e : effects) {
      if (const auto* a = std::get_if<effect::append>(&e)) {
        records.push_back(a->what);
      } else if (std::holds_alternative<effect::sync>(e)) {
        asked_to_sync = true;
      } else if (const auto* m = std::get_if<effect::tell_job>(&e)) {
        told.push_back(m->message);
        if (const auto* f = std::get_if<fence>(&m->message); f != nullptr && fences)
          job(fenced{f->request, f->attempt});
        if (const auto* p = std::get_if<placed>(&m->message); p != nullptr && joins) {
          for (const auto& x : p->members) news(x.agent, {p->request, p->attempt}, entry_news::joined);
        }
      } else if (const auto* o = std::get_if<effect::tell_agent>(&e)) {
        orders.push_back(o->message);
        if (agents_answer) answer(o->message);
      }
    }
    if (syncs && asked_to_sync && durable < records.size()) sync();
  }
  void sync() {
    asked_to_sync = false;
    const auto before = durable;
    durable = records.size();
    std::uint64_t n = 0;  // of this term's records
    for (const auto& r : records) n += r.term == machine->term();
    if (durable > before) on(event::synced{n});
  }
  void answer(const to_agent& message) {
    if (const auto* m = std::get_if<reserve>(&message)) {
      if (m->kind == request_kind::parallel) leases.insert(m->ref);
      news(m->agent, m->ref, warm ? entry_news::committed : entry_news::reserved);
    }
    if (const auto* m = std::get_if<end_executors>(&message)) agent(executors_ended{m->term, m->agent, m->run});
    if (const auto* m = std::get_if<entry_order>(&message)) {
      if (m->verb == entry_verb::commit) news(m->agent, m->ref, entry_news::committed);
      if (m->verb == entry_verb::go && leases.contains(m->ref)) news(m->agent, m->ref, entry_news::entered);
      if (m->verb == entry_verb::enter) news(m->agent, m->ref, entry_news::entered);
      const bool end = m->verb == entry_verb::close || m->verb == entry_verb::abort || m->verb == entry_verb::revoke;
      if (end && ends) news(m->agent, m->ref, entry_news::gone);
    }
  }

  static request_id id(std::uint32_t stage) { return {run, 0, stage, 0}; }
  void gang(std::uint32_t stage, std::uint32_t n) {
    job(admit{{id(stage), request_kind::gang, n, n, app, std::string("stage ").append(std::to_string(stage)), {}}});
  }
  void stage(std::uint32_t stage, std::uint32_t most) {
    job(admit{
        {id(stage), request_kind::parallel, 1, most, app, std::string("stage ").append(std::to_string(stage)), {}}});
  }
  void decide(std::uint32_t stage, attempt_id attempt, std::uint64_t number, decision_kind kind) {
    for (const auto& p : all<placed>()) {
      if (kind != decision_kind::release || !returns || p.request != id(stage) || p.attempt != attempt) continue;
      for (const auto& m : p.members) news(m.agent, {p.request, attempt}, entry_news::finished);
    }
    job(decision{id(stage), attempt, number, kind, "a test"});
  }
  request_status status(std::uint32_t stage) const {
    for (const auto& r : machine->status().requests) {
      if (r.id == id(stage)) return r;
    }
    return {};
  }
  template <class M>
  std::vector<M> all() const {
    std::vector<M> found;
    for (const auto& m : told) {
      if (const auto* x = std::get_if<M>(&m)) found.push_back(*x);
    }
    return found;
  }
  template <class M>
  M last() const {
    const auto found = all<M>();
    REQUIRE_FALSE(found.empty());
    return found.back();
  }
  std::size_t orders_of(entry_verb v) const {
    return static_cast<std::size_t>(std::count_if(orders.begin(), orders.end(), [v](const auto& m) {
      const auto* o = std::get_if<entry_order>(&m);
      return o != nullptr && o->verb == v;
    }));
  }
  template <class M>
  std::size_t count_orders() const {
    return static_cast<std::size_t>(
        std::count_if(orders.begin(), orders.end(), [](const auto& m) { return std::holds_alternative<M>(m); }));
  }
  template <class B>
  std::size_t count_records() const {
    return static_cast<std::size_t>(
        std::count_if(records.begin(), records.end(), [](const auto& r) { return std::holds_alternative<B>(r.body); }));
  }
  std::uint32_t free() const { return machine->account().total_free(); }
};

}  // namespace

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

TEST_CASE("ranks that have returned hold no slots; that they have is acknowledged with the next word, or alone, soon") {
  desk d({2, 2});
  d.gang(0, 4);
  const attempt_ref ref{d.id(0), d.last<placed>().attempt};
  d.news({100}, ref, entry_news::finished);
  CHECK(d.free() == 2);
  CHECK(d.orders_of(entry_verb::acknowledge_gone) == 0);
  SUBCASE("the next gang starts there while the first still runs elsewhere") {
    d.gang(1, 2);
    CHECK(d.status(1).state == "running");
    CHECK(d.status(0).state == "running");
    CHECK(d.orders_of(entry_verb::acknowledge_gone) == 1);
    d.wait(1s);
  }
  SUBCASE("nobody needs them") {
    d.wait(125ms);
    CHECK(d.orders_of(entry_verb::acknowledge_gone) == 1);
    d.news({100}, ref, entry_news::finished);  // said again: it was not heard
    d.wait(125ms);
    CHECK(d.orders_of(entry_verb::acknowledge_gone) == 2);
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

TEST_CASE("the queue is in the order of submission, also when something smaller behind would fit") {
  desk d({4});
  d.gang(0, 3);
  d.gang(1, 2);
  d.gang(2, 1);
  CHECK(d.status(1).state == "queued");
  CHECK(d.status(2).state == "queued");
  CHECK(d.status(1).reason == "needs 2 slots, 1 free");
  CHECK(d.status(2).reason.find("behind stage 1") != std::string::npos);
  d.decide(0, d.last<placed>().attempt, 1, decision_kind::release);
  CHECK(d.status(1).state == "running");
  CHECK(d.status(2).state == "running");
}

TEST_CASE("what can never fit is denied at once, with what would fit") {
  desk d({4});
  d.gang(0, 8);
  CHECK(d.last<denied>().why.code == errc::refused);
  CHECK(d.last<denied>().why.what == "needs 8 slots at once, the cluster has 4 on 1 node");
  CHECK(d.last<denied>().why.hint.find("at most 4") != std::string::npos);
}

TEST_CASE("early in a term nothing is judged that more nodes could serve") {
  desk d({4}, {.expected_nodes = 2});
  d.gang(0, 8);
  CHECK(d.all<denied>().empty());
  CHECK(d.status(0).reason == "4 of 8 slots known so far");
  d.add_node({200}, 4);
  CHECK(d.status(0).state == "running");
  d.gang(1, 9);
  CHECK(d.last<denied>().request == d.id(1));
}

TEST_CASE("without expected nodes never fits is judged after the grace; a lost node counts as long") {
  desk d({4, 4}, {});
  d.gang(0, 9);
  d.wait(9s);
  CHECK(d.all<denied>().empty());
  d.wait(2s);
  CHECK(d.last<denied>().request == d.id(0));
  d.on(event::agent_lost{{101}});
  d.wait(2s);  // dead, but its slots may come back
  d.gang(1, 8);
  CHECK(d.last<denied>().request == d.id(0));
  d.wait(10s);
  CHECK(d.last<denied>().request == d.id(1));
}

TEST_CASE("a node that comes back under a new boot counts as lost until its list is in") {
  desk d({4, 4}, {});
  d.wait(11s);
  d.on(event::agent_lost{{101}});
  d.wait(2s);  // dead; its slots still count
  const boot_id again{501};
  d.agent(enlist{again, "n101", 4, 1, {}, {}, {}});  // follows no term yet: this list does not count
  CHECK(std::holds_alternative<follow>(d.orders.back()));
  d.gang(0, 8);
  CHECK(d.all<denied>().empty());
  d.agent(enlist{again, "n101", 4, 2, d.machine->term(), {}, {}});
  d.wait(1s);
  CHECK(d.all<denied>().empty());
  CHECK(d.all<granted>().size() == 1);
}

TEST_CASE("a parallel stage gets one slot at first and more as long as nobody in front needs them") {
  desk d({4});
  d.stage(0, 3);
  CHECK(d.all<leased>().size() == 3);
  CHECK(d.free() == 1);
  CHECK(d.count_records<go_record>() == 0);
  d.job(want{d.id(0), 4, 1});
  CHECK(d.free() == 0);
  d.job(want{d.id(0), 1, 0});  // an old one
  CHECK(d.last<wanted>().number == 0);
  d.job(release_lease{d.id(0), d.all<leased>()[0].attempt});
  CHECK(d.free() == 0);  // granted again: it still wants four
  d.job(want{d.id(0), 3, 2});
  d.job(release_lease{d.id(0), d.all<leased>()[1].attempt});
  CHECK(d.free() == 1);
}

TEST_CASE("a gang behind a parallel stage recalls what it lacks, and the stage goes on behind it") {
  desk d({4});
  d.stage(0, 4);
  d.gang(1, 3);
  auto r = d.last<recall>();
  CHECK(r.count == 3);
  CHECK(r.keep == 1);
  for (int i = 0; i < 3; ++i) {
    CHECK(d.status(1).state == "queued");
    d.job(release_lease{d.id(0), d.all<leased>()[static_cast<std::size_t>(i)].attempt});
  }
  CHECK(d.status(1).state == "running");
  CHECK(d.last<recall>().count == 0);
  d.decide(1, d.last<placed>().attempt, 1, decision_kind::release);
  CHECK(d.free() == 0);  // the stage has its slots back
}

TEST_CASE("a stage recalled to nothing is served again directly behind the gang") {
  desk d({2});
  d.stage(0, 2);
  d.gang(1, 2);
  d.gang(2, 1);
  CHECK(d.last<recall>().keep == 0);
  d.job(release_lease{d.id(0), d.all<leased>()[0].attempt});
  d.job(release_lease{d.id(0), d.all<leased>()[1].attempt});
  CHECK(d.status(1).state == "running");
  d.decide(1, d.last<placed>().attempt, 1, decision_kind::release);
  CHECK(d.status(0).held == 1);
  CHECK(d.status(2).state == "running");
}

TEST_CASE("the newest stage gives way first, and a recall in vain is not made") {
  desk d({6});
  d.gang(0, 2);
  d.stage(1, 2);
  d.stage(2, 2);
  d.gang(3, 6);  // the running gang cannot be recalled
  CHECK(d.all<recall>().empty());
  d.job(cancel{d.id(3)});
  d.gang(4, 1);
  CHECK(d.last<recall>().request == d.id(2));
  CHECK(d.last<recall>().keep == 1);
}

TEST_CASE("leases that are not given back are taken at the gate's deadline, and burn nothing") {
  desk d({2});
  d.stage(0, 2);
  d.gang(1, 2);
  d.wait(9min);
  CHECK(d.status(1).state == "queued");
  d.wait(2min);
  CHECK(d.status(1).state == "running");
  CHECK(d.last<ended>().cause == end_cause::gave_way);
  CHECK_FALSE(d.last<ended>().burnt);
}

TEST_CASE("losing a lease ends that one only") {
  desk d({1, 1});
  d.stage(0, 2);
  const auto lost = d.all<leased>()[0];
  d.news(lost.where.agent, {d.id(0), lost.attempt}, entry_news::gone);
  CHECK(d.last<ended>().attempt == lost.attempt);
  CHECK(d.status(0).held == 2);  // and another in its stead
  CHECK(d.all<leased>().size() == 3);
}

TEST_CASE("leased is repeated until it is noted") {
  desk d({1});
  d.stage(0, 1);
  d.wait(5s);
  const auto said = d.all<leased>().size();
  CHECK(said > 1);
  d.job(noted{noted_kind::leased, d.id(0), d.last<leased>().attempt, {}, 0});
  d.wait(1min);
  CHECK(d.all<leased>().size() == said);
}

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
