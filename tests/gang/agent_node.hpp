#pragma once
// The reservation machine of a node, with a coordinator and executors that a test plays.

#include <hydrogen/gang/reservation.hpp>

#include "names.hpp"
#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

namespace hydrogen::gang::testing::at_agent {

namespace event = reservation_event;
namespace effect = reservation_effect;

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

}  // namespace hydrogen::gang::testing::at_agent
