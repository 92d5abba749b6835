#include <hydrogen/gang/admission.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace hydrogen::gang {

admission::admission(admission_options options, const digest& known, time_point now)
    : options_(options), term_{known.term().value + 1}, term_began_(now), now_(now) {
  replay(known);
}

void admission::replay(const digest& known) {
  drained_ = known.drained();
  for (const auto& [id, ends] : known.runs()) {
    auto& run = runs_[id];
    run.over = ends;
    run.deadline = term_began_ + options_.driver_return;
    wakes_.set({wake_kind::run, {id, 0, 0, 0}, {}, {}}, run.deadline);
  }
  for (const auto* q : known.in_order()) {
    last_place_ = std::max(last_place_, q->place);
    auto& r = make_request(q->what, q->place);
    r.confirmed = false;
    r.last_attempt = q->last_attempt;
    r.retried = static_cast<bool>(q->last_attempt);
    if (q->open) recover(r, *q->open);
    if (q->cancelled) r.final = verdict{close_reason::cancelled, {errc::none, {}, {}, {}}, true, true};
  }
}

admission::effects admission::start(time_point now) {
  now_ = now;
  gates_.push_back({append(term_record{}), gate_kind::term, {}, {}, 0});
  return take_effects();
}

admission::effects admission::on(const event& e, time_point now) {
  now_ = now;
  if (!ready_ && !std::holds_alternative<admission_event::synced>(e)) {
    if (early_.size() < 10'000) early_.push_back(e);  // more than that is repeated anyway
    return {};
  }
  std::visit([this](const auto& x) { handle(x); }, e);
  if (ready_) {
    for (const auto& x : std::exchange(early_, {})) std::visit([this](const auto& y) { handle(y); }, x);
  }
  for (const auto& ref : std::exchange(over_, {})) {
    auto* r = find(ref.request);
    if (r == nullptr) continue;
    if (const auto a = r->attempts.find(ref.attempt); a != r->attempts.end()) attempt_may_be_over(*r, a->second);
  }
  if (queue_changed_) schedule();
  for (const auto& id : std::exchange(to_answer_, {})) {
    if (auto* r = find(id)) tell_reason(*r, true, why_few());
  }
  return take_effects();
}

admission::effects admission::take_effects() {
  if (std::exchange(sync_now_, false)) {
    wakes_.clear({wake_kind::journal, {}, {}, {}});
    out_.push_back(admission_effect::sync{});
  }
  return std::exchange(out_, {});
}

// ---- events --------------------------------------------------------------------------------------------------------

void admission::handle(const admission_event::job_said& e) {
  if (const auto* m = std::get_if<begin_run>(&e.message)) return said(e.run, *m);
  if (const auto* m = std::get_if<end_run>(&e.message)) return said(e.run, *m);
  auto* run = find_run(e.run);
  if (ended_runs_.contains(e.run) || (run != nullptr && run->ending && !std::holds_alternative<noted>(e.message))) {
    return tell_job(e.run, run_over{term_, e.run});
  }
  if (run == nullptr || !run->begun) return;  // begin_run is being repeated
  std::visit(
      [&](const auto& m) {
        using message = std::decay_t<decltype(m)>;
        if constexpr (!std::is_same_v<message, begin_run> && !std::is_same_v<message, end_run>) {
          if constexpr (std::is_same_v<message, admit>) {
            if (m.request.id.run != e.run) return;
          } else {
            if (m.request.run != e.run) return;
          }
          said(*run, m);
        }
      },
      e.message);
}

void admission::handle(const admission_event::agent_said& e) {
  const auto boot = std::visit([](const auto& m) { return m.agent; }, e.message);
  if (is_dead_boot(boot)) return tell_agent(boot, expelled{term_, boot});
  std::visit([this](const auto& m) { said(m); }, e.message);
}

void admission::handle(const admission_event::agent_lost& e) {
  auto* node = ledger_.find(e.agent);
  if (node == nullptr || !node->connected) return;
  log(true, fmt::format("contact with node {} (boot {}) is lost", node->name, to_string(node->boot)));
  ledger_.set(*node, node->listed, false);
  node->lost_at = now_;
  wake_node(*node);
  queue_changed_ = true;
}

void admission::handle(const admission_event::driver_lost& e) {
  auto* run = find_run(e.run);
  if (run == nullptr) return;
  run->connected = false;
  if (run->ending) return;
  run->deadline = now_ + options_.driver_grace;
  wakes_.set({wake_kind::run, {e.run, 0, 0, 0}, {}, {}}, run->deadline);
}

void admission::handle(const admission_event::synced& e) {
  if (e.shortage != shortage_) {
    const bool over = e.shortage.code == errc::none;
    log(!over, over ? "the journal has room again" : e.shortage.message());
    shortage_ = e.shortage;
    queue_changed_ = true;
  }
  if (is_short()) wake_by({wake_kind::journal, {}, {}, {}}, now_ + options_.retry);  // looks again
  while (!gates_.empty() && gates_.front().n <= e.n) {
    const auto g = gates_.front();
    gates_.pop_front();
    if (g.kind == gate_kind::term) {
      ready_ = true;
      term_began_ = now_;
      wakes_.set({wake_kind::membership, {}, {}, {}}, now_ + options_.membership_grace);
      log(false, "the coordinator begins term " + to_string(term_));
      go_on_ending();
      continue;
    }
    if (g.kind == gate_kind::drain) {
      out_.push_back(admission_effect::answer_drain{g.decision});
      continue;
    }
    auto* r = find(g.request);
    if (r == nullptr) continue;
    if (g.decision != 0 && r->decision == g.decision) r->decision_answered = true;
    if (g.decision != 0) tell_job(g.request.run, decided{term_, g.request, g.decision});
    if (g.kind == gate_kind::verdict) {
      carry_out_verdict(*r);
    } else if (g.kind == gate_kind::requeue) {
      if (!r->requeuing || r->last_attempt != g.attempt) continue;
      r->requeuing = r->parked = r->last_had_go = false;
      reindex(*r);
    } else if (const auto a = r->attempts.find(g.attempt); a != r->attempts.end()) {
      a->second.go_durable = true;
      if (!r->final) enter_if_all_joined(*r, a->second);
    }
  }
}

void admission::handle(const admission_event::timer&) {
  wake due{};
  while (wakes_.take_due(now_, due)) wake_up(due);
}

void admission::wake_up(const wake& w) {
  switch (w.kind) {
    case wake_kind::attempt: {
      auto* r = find(w.request);
      if (r == nullptr) return;
      if (const auto a = r->attempts.find(w.attempt); a != r->attempts.end()) repeat_attempt(*r, a->second);
      return;
    }
    case wake_kind::request:
      if (auto* r = find(w.request)) wake_request(*r);
      return;
    case wake_kind::node: {
      auto* node = ledger_.find(w.boot);
      if (node == nullptr) return;
      const auto grace = node->listed ? options_.contact_grace : options_.membership_grace;
      if (!node->connected && now_ >= node->lost_at + grace) {
        return declare_dead(w.boot,
                            node->listed ? "its connection was lost" : "it did not come back after the restart");
      }
      if (node->connected && !node->listed) tell_agent(w.boot, follow{term_, w.boot});
      for (const auto& [ref, kind] : node->orphans) order(w.boot, ref, entry_verb::revoke);
      return wake_node(*node);
    }
    case wake_kind::run: {
      auto* run = find_run(w.request.run);
      if (run == nullptr) return;
      if (!run->ending && now_ >= run->deadline) {
        if (!run->requests.empty())
          log(true, fmt::format("the driver of {} is gone: its run {} ends", run->app.name, to_string(w.request.run)));
        return give_up(w.request.run, *run);
      }
      if (run->requests_gone) return repeat_end_executors(w.request.run, *run);
      if (run->begun && !run->ending) cancel_unclaimed(*run);
      return;
    }
    case wake_kind::acknowledge:
      return acknowledge(w.boot);
    case wake_kind::journal:
      sync_now_ = true;
      return;
    case wake_kind::queue:
      queue_changed_ = true;
      return;
    case wake_kind::notices:
      if (auto* run = find_run(w.request.run)) repeat_notices(w.request.run, *run);
      return;
    case wake_kind::reasons:
      return tell_reasons();
    case wake_kind::membership: {
      std::erase_if(lost_nodes_, [this](const auto& n) { return n.second.until <= now_; });
      for (const auto& [name, n] : lost_nodes_) wake_by(w, n.until);
      queue_changed_ = true;
      return judge_all();
    }
  }
}

// ---- what is sent --------------------------------------------------------------------------------------------------

/// For `submitted` nobody waits, since a job repeats what was forgotten; nor for the end of a run; for that of a
/// released or cancelled request only an answer, or the end of a cancelled gang. So the Go of a gang waits for no sync
/// but its own.
std::uint64_t admission::append(record_body body) {
  const auto* closed = std::get_if<closed_record>(&body);
  const auto can_wait =
      std::holds_alternative<submitted_record>(body) || std::holds_alternative<cancelled_record>(body) ||
      std::holds_alternative<run_over_record>(body) ||
      (closed != nullptr && (closed->reason == close_reason::released || closed->reason == close_reason::cancelled));
  if (can_wait && options_.sync_after > duration::zero()) {
    wake_by({wake_kind::journal, {}, {}, {}}, now_ + options_.sync_after);
  } else {
    sync_now_ = true;
  }
  out_.push_back(admission_effect::append{{term_, std::move(body)}});
  return ++appended_;
}

void admission::tell_agent(boot_id agent, to_agent message) {
  if (!unacknowledged_.empty()) acknowledge(agent);
  out_.push_back(admission_effect::tell_agent{agent, std::move(message)});
}

void admission::tell_job(run_id run, to_job message) {
  out_.push_back(admission_effect::tell_job{run, std::move(message)});
}

void admission::order(boot_id agent, const attempt_ref& ref, entry_verb verb) {
  tell_agent(agent, entry_order{term_, agent, ref, verb});
}

void admission::notify(run_id id, notice_key key, to_job message) {
  auto* run = find_run(id);
  if (run == nullptr || run->ending) return;
  tell_job(id, message);
  const auto next = now_ + options_.retry;
  run->notices.insert_or_assign(key, notice{std::move(message), next, options_.retry});
  // Only earlier than what is set: the wake-up looks at all of them.
  if (run->notices.size() == 1) wakes_.set({wake_kind::notices, {id, 0, 0, 0}, {}, {}}, next);
}

void admission::forget_notice(run_id id, const notice_key& key) {
  auto* run = find_run(id);
  if (run == nullptr) return;
  run->notices.erase(key);
  if (run->notices.empty()) wakes_.clear({wake_kind::notices, {id, 0, 0, 0}, {}, {}});
}

void admission::repeat_notices(run_id id, run_state& run) {
  auto next = never;
  for (auto& [key, n] : run.notices) {
    if (n.next <= now_) {
      tell_job(id, n.message);
      n.interval = std::min(2 * n.interval, options_.notice_retry_most);
      n.next = now_ + n.interval;
    }
    next = std::min(next, n.next);
  }
  // New notices do not move the wake-up, so it comes at least once in each retry interval while there are any.
  if (next != never) next = std::min(next, now_ + options_.retry);
  wakes_.set({wake_kind::notices, {id, 0, 0, 0}, {}, {}}, next);
}

void admission::wake_by(const wake& w, time_point at) {
  wakes_.set(w, std::min(at, wakes_.at(w)));
}

void admission::log(bool warning, std::string text) {
  out_.push_back(admission_effect::log_line{warning, std::move(text)});
}

}  // namespace hydrogen::gang
