#pragma once
// The admission machine with agents and a job that a test plays.

#include <hydrogen/gang/admission.hpp>

#include "names.hpp"
#include <doctest/doctest.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace hydrogen::gang::testing::at_desk {

namespace event = admission_event;
namespace effect = admission_effect;

/// A coordinator with agents and a job that answer at once and rightly, unless told to be silent.
struct desk {
  admission_options options{.expected_nodes = 1};
  std::vector<record> records;  // appended so far
  std::size_t durable = 0;
  bool asked_to_sync = false;
  std::optional<admission> machine;
  time_point now{};
  bool syncs = true, agents_answer = true, joins = true, ends = true, fences = true;
  bool warm = false;                       // agents commit with the reserve
  bool returns = true;                     // the ranks of a gang that is released have returned
  error shortage{errc::none, {}, {}, {}};  // what a sync finds
  std::vector<to_agent> orders;
  std::set<attempt_ref> leases;
  std::vector<to_job> told;
  std::vector<effect::answer_drain> drained;
  std::vector<boot_id> nodes;

  explicit desk(std::vector<std::uint32_t> slots, admission_options o = {.expected_nodes = 1}) : options(o) {
    options.sync_after = 0ms;
    restart();
    begin();
    for (const auto n : slots) add_node({100 + nodes.size()}, n);
  }
  void restart() {
    records.resize(durable);
    machine.emplace(options, digest(digest(records).records()), now);  // as if the journal had been written anew
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
    n.meets = "host memory";
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
      } else if (const auto* a = std::get_if<effect::answer_drain>(&e)) {
        drained.push_back(*a);
      } else if (const auto* o = std::get_if<effect::tell_agent>(&e)) {
        orders.push_back(o->message);
        if (agents_answer) answer(o->message);
      }
    }
    if (syncs && asked_to_sync) sync();
  }
  void sync() {
    asked_to_sync = false;
    const auto before = durable;
    const bool was_short = std::exchange(short_, shortage.code != errc::none);
    durable = records.size();
    std::uint64_t n = 0;  // of this term's records
    for (const auto& r : records) n += r.term == machine->term();
    if (durable > before || was_short || short_) on(event::synced{n, shortage});
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

 private:
  bool short_ = false;  // at the last sync
};

}  // namespace hydrogen::gang::testing::at_desk
