// What jobs say; how requests and runs end.

#include <hydrogen/gang/admission.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace hydrogen::gang {

admission::run_state* admission::find_run(run_id id) {
  const auto at = runs_.find(id);
  return at == runs_.end() ? nullptr : &at->second;
}

request_state* admission::find(const request_id& id) {
  const auto at = requests_.find(id);
  return at == requests_.end() ? nullptr : &at->second;
}

const request_state* admission::known(const request_id& id) const {
  const auto at = requests_.find(id);
  return at == requests_.end() ? nullptr : &at->second;
}

request_state& admission::make_request(slot_request what, std::uint64_t place) {
  const auto id = what.id;
  auto& run = runs_[id.run];
  if (run.app.name.empty()) run.app = what.app;
  run.requests.insert(id);
  auto& r = requests_[id];
  r.what = std::move(what);
  for (const auto& node : r.what.avoid_nodes) avoid(r, node);
  r.at = {-std::int64_t{r.what.priority}, place, 0};
  r.submitted = place;
  return r;
}

// ---- runs ----------------------------------------------------------------------------------------------------------

void admission::said(run_id id, const begin_run& m) {
  if (ended_runs_.contains(id)) return tell_job(id, run_over{term_, id});
  auto& run = runs_[id];
  if (run.ending) return tell_job(id, run_over{term_, id});
  run.app = m.app;
  run.begun = run.connected = true;
  run.deadline = never;
  // Requests that were replayed and that no job repeats are cancelled then.
  const auto unclaimed = std::any_of(run.requests.begin(), run.requests.end(),
                                     [this](const auto& request) { return !requests_.at(request).confirmed; });
  wakes_.set({wake_kind::run, {id, 0, 0, 0}, {}, {}}, unclaimed ? now_ + options_.driver_return : never);
  tell_job(id, begun{term_, id});
  if (!run.notices.empty()) {
    for (auto& [key, n] : run.notices) {
      n.next = now_;
      n.interval = options_.retry;
    }
    repeat_notices(id, run);
  }
}

void admission::said(run_id id, const end_run&) {
  auto* run = find_run(id);
  if (run == nullptr) {
    ended_runs_.insert(id);
    return tell_job(id, run_over{term_, id});
  }
  if (!run->ending) give_up(id, *run);
}

void admission::cancel_unclaimed(run_state& run) {
  const auto requests = run.requests;
  for (const auto& request : requests) {
    auto* r = find(request);
    if (!r->confirmed && !r->final) pronounce(*r, close_reason::cancelled, {errc::none, {}, {}, {}}, false);
  }
}

void admission::give_up(run_id id, run_state& run) {
  run.ending = true;
  run.notices.clear();
  wakes_.clear({wake_kind::notices, {id, 0, 0, 0}, {}, {}});
  const auto requests = run.requests;
  for (const auto& request : requests) {
    auto* r = find(request);
    if (r->final) {
      r->final->tell = false;
    } else {
      pronounce(*r, close_reason::cancelled, {errc::none, {}, {}, {}}, false);
    }
  }
  run_may_be_over(id);
}

void admission::run_may_be_over(run_id id) {
  auto* run = find_run(id);
  if (run == nullptr || !run->ending || !run->requests.empty()) return;
  if (!run->requests_gone) {
    run->requests_gone = true;
    repeat_end_executors(id, *run);
  }
  if (!run->hosts.empty()) return;
  wakes_.clear({wake_kind::run, {id, 0, 0, 0}, {}, {}});
  runs_.erase(id);
  ended_runs_.insert(id);
  append(run_over_record{id});
  tell_job(id, run_over{term_, id});
}

void admission::repeat_end_executors(run_id id, run_state& run) {
  for (const auto boot : run.hosts) tell_agent(boot, end_executors{term_, boot, id});
  if (!run.hosts.empty()) wakes_.set({wake_kind::run, {id, 0, 0, 0}, {}, {}}, now_ + options_.retry);
}

// ---- requests ------------------------------------------------------------------------------------------------------

void admission::said(run_state& run, const admit& m) {
  const auto& id = m.request.id;
  if (const auto* why = run.over.find(id)) {
    if (why->code != errc::none) return tell_job(id.run, denied{term_, id, *why});
    return tell_job(id.run, ended{term_, id, {}, end_cause::cancelled, false, "the request is over"});
  }
  if (auto* r = find(id)) {
    r->what.app = m.request.app;
    for (const auto& node : m.request.avoid_nodes) avoid(*r, node);
    if (!r->confirmed) {
      r->confirmed = true;
      r->what.most = m.request.most;
      reindex(*r);
      deny_if_never_fits(*r);
    }
    to_answer_.push_back(id);
    return;
  }
  if (is_short()) {
    run.over.add(id, shortage_);
    return tell_job(id.run, denied{term_, id, shortage_});
  }
  const auto& app = m.request.app.name;
  if (options_.application_queued > 0 && queue_.waits_of(app) >= options_.application_queued) {
    const error why{errc::refused,
                    fmt::format("{} requests of {} wait already, as many as may", options_.application_queued, app),
                    m.request.label, "submit again when some have started"};
    run.over.add(id, why);
    return tell_job(id.run, denied{term_, id, why});
  }
  auto& r = make_request(m.request, ++last_place_);
  append(submitted_record{m.request, r.submitted});
  to_answer_.push_back(id);
  if (m.request.least == 0 || m.request.most < m.request.least) {
    return pronounce(r, close_reason::failed,
                     {errc::bad_input,
                      fmt::format("a request for at least {} and at most {} slots", m.request.least, m.request.most),
                      m.request.label, "ask for at least 1, at most n >= m"});
  }
  reindex(r);
  deny_if_never_fits(r);
}

void admission::said(run_state&, const want& m) {
  if (auto* r = find(m.request); r != nullptr && !r->is_gang() && m.number >= r->want_number) {
    r->want_number = m.number;
    r->what.most = m.most;
    reindex(*r);
  }
  tell_job(m.request.run, wanted{term_, m.request, m.number});
}

void admission::said(run_state&, const fenced& m) {
  auto* r = find(m.request);
  if (r == nullptr) return;
  const auto at = r->attempts.find(m.attempt);
  if (at == r->attempts.end() || at->second.fenced) return;
  auto& a = at->second;
  a.fenced = true;
  if (a.phase == attempt_phase::recovering) {
    r->confirmed = true;
    return go_on_if_all_back(*r, a);
  }
  if (a.phase == attempt_phase::committing && a.progressed == a.members.size()) decide(*r, a);
}

void admission::said(run_state&, const release_lease& m) {
  auto* r = find(m.request);
  if (r != nullptr && !r->is_gang()) {
    if (const auto at = r->attempts.find(m.attempt); at != r->attempts.end()) {
      forget_notice(m.request.run, {noted_kind::leased, m.request, m.attempt, {}});
      if (!at->second.over()) close_attempt(*r, at->second);
      return;  // answered when it is confirmed
    }
  }
  tell_job(m.request.run, ended{term_, m.request, m.attempt, end_cause::none, false, {}});
}

void admission::said(run_state&, const cancel& m) {
  auto* r = find(m.request);
  if (r == nullptr) {
    return tell_job(m.request.run, ended{term_, m.request, {}, end_cause::cancelled, false, {}});
  }
  if (!r->final) pronounce(*r, close_reason::cancelled);
}

void admission::said(run_state&, const noted& m) {
  if (m.what == noted_kind::recall) {
    const auto* r = find(m.request);
    if (r != nullptr && r->recalls == m.number) forget_notice(m.request.run, {m.what, m.request, {}, {}});
    return;
  }
  if (m.what == noted_kind::ended) {
    // That a gang is parked can be said twice with one attempt; only the job's decision answers it.
    if (const auto* r = find(m.request); r != nullptr && r->is_gang()) return;
  }
  auto request = m.request;
  if (m.what == noted_kind::executor_gone) request = {m.request.run, 0, 0, 0};
  const auto attempt = m.what == noted_kind::denied ? attempt_id{} : m.attempt;
  const auto executor = m.what == noted_kind::executor_gone ? m.executor : boot_id{};
  forget_notice(m.request.run,
                {m.what, request, m.what == noted_kind::executor_gone ? attempt_id{} : attempt, executor});
}

void admission::said(run_state&, const decision& m) {
  auto* r = find(m.request);
  if (r == nullptr || m.number < r->decision || (m.number == r->decision && r->decision_answered)) {
    return tell_job(m.request.run, decided{term_, m.request, m.number});
  }
  if (m.number == r->decision) return;  // answered when its record is durable
  if (m.kind == decision_kind::again && !r->final) {
    // Before the attempt is confirmed gone there is nothing to decide yet (a job can know its end from the coordinator
    // before a restart): not heard, it is repeated.
    const auto a = r->attempts.find(m.attempt);
    if (a != r->attempts.end() && a->second.phase == attempt_phase::ending) return;
    if (a != r->attempts.end() && a->second.phase == attempt_phase::recovering) {
      return end_attempt(*r, a->second, entry_verb::revoke, after_end::park, end_cause::restart, false,
                         "its job knows it as over");
    }
  }
  r->decision = m.number;
  r->decision_answered = true;
  if (!r->confirmed) {
    r->confirmed = true;
    reindex(*r);
    if (m.kind != decision_kind::release) deny_if_never_fits(*r);
  }
  if (r->is_gang() && !r->final) apply(*r, m);
  if (r->decision_answered) tell_job(m.request.run, decided{term_, m.request, m.number});
}

void admission::apply(request_state& r, const decision& m) {
  if (m.kind == decision_kind::release) {
    r.decision_answered = false;
    return pronounce(r, close_reason::released);
  }
  auto* live = r.attempts.empty() ? nullptr : &r.attempts.begin()->second;
  if (m.kind == decision_kind::again && m.attempt == r.last_attempt) {
    forget_notice(r.what.id.run, {noted_kind::ended, r.what.id, m.attempt, {}});  // it has been heard
  }
  switch (m.kind) {
    case decision_kind::again:
      if (!r.parked || r.requeuing || m.attempt != r.last_attempt) return;
      if (!r.last_had_go) {
        r.parked = false;
        return reindex(r);
      }
      r.requeuing = true;
      r.decision_answered = false;
      gates_.push_back(
          {append(closed_record{{r.what.id, r.last_attempt}, close_reason::again, {errc::none, {}, {}, {}}}),
           gate_kind::requeue, r.what.id, r.last_attempt, m.number});
      return;
    case decision_kind::park:
      if (live != nullptr) {
        if (!live->before_go() && m.attempt != live->ref.attempt) return;
        const auto verb = live->before_go() ? entry_verb::abort : entry_verb::revoke;
        return end_attempt(r, *live, verb, after_end::park, end_cause::gave_way, false, m.cause);
      }
      r.requeuing = false;
      r.last_attempt = std::max(r.last_attempt, m.attempt);  // one that a restart made this forget
      return park(r, r.last_attempt, end_cause::gave_way, false, m.cause);
    case decision_kind::fail:
      if (live == nullptr || live->over() || m.attempt != live->ref.attempt) return;
      return end_attempt(r, *live, live->before_go() ? entry_verb::abort : entry_verb::revoke, after_end::park,
                         end_cause::failed, !live->before_go(), m.cause);
    case decision_kind::release:
      return;
  }
}

// ---- the end of a request ------------------------------------------------------------------------------------------

void admission::pronounce(request_state& r, close_reason reason, error why, bool tell) {
  invariant(!r.final, "a request ends twice");
  r.final = verdict{reason, std::move(why), false, tell};
  const auto n = reason == close_reason::cancelled
                     ? append(cancelled_record{r.what.id})
                     : append(closed_record{{r.what.id, r.last_attempt}, reason, r.final->why});
  const auto number = r.decision_answered ? 0 : r.decision;
  gates_.push_back({n, gate_kind::verdict, r.what.id, {}, number});
  reindex(r);
  // A coordinator that restarts without this record asks the job, which says the same again; and a lease ends with any
  // restart. So only the answer waits for the record, not the slots.
  if (r.is_gang() ? reason == close_reason::released : reason == close_reason::cancelled) end_attempts(r);
}

void admission::end_attempts(request_state& r) {
  std::vector<attempt_id> live;
  for (const auto& [attempt, a] : r.attempts) {
    if (!a.over()) live.push_back(attempt);
  }
  for (const auto& attempt : live) {
    auto& a = r.attempts.at(attempt);
    if (r.final->reason == close_reason::released && !a.before_go()) {
      close_attempt(r, a);
    } else {
      end_attempt(r, a, a.before_go() ? entry_verb::abort : entry_verb::revoke, after_end::queue, end_cause::cancelled,
                  false, {});
    }
  }
}

void admission::carry_out_verdict(request_state& r) {
  r.final->durable = true;
  const auto& id = r.what.id;
  if (r.final->reason == close_reason::failed && r.final->tell) {
    log(true, fmt::format("{} ({}) is denied: {}", r.what.label, to_string(id), r.final->why.message()));
    notify(id.run, {noted_kind::denied, id, {}, {}}, denied{term_, id, r.final->why});
  }
  end_attempts(r);
  if (r.attempts.empty()) request_over(r);
}

void admission::request_over(request_state& r) {
  const auto id = r.what.id;
  const auto v = *r.final;
  const auto last = r.last_attempt;
  const bool last_had_go = r.last_had_go;
  wakes_.clear({wake_kind::request, id, {}, {}});
  queue_.forget(r);
  requests_.erase(id);
  queue_changed_ = true;
  auto* run = find_run(id.run);
  run->requests.erase(id);
  run->over.add(id, v.why);
  // Without this a restarted coordinator would ask the nodes once more.
  if (v.reason == close_reason::cancelled && last_had_go) {
    append(closed_record{{id, last}, close_reason::cancelled, {errc::none, {}, {}, {}}});
  }
  // What was said about its attempts matters no more.
  std::erase_if(run->notices, [&](const auto& n) {
    return n.first.request == id && n.first.kind != noted_kind::denied && n.first.kind != noted_kind::executor_gone;
  });
  if (v.tell && v.reason == close_reason::cancelled) {
    tell_job(id.run, ended{term_, id, last, end_cause::cancelled, false, {}});
  }
  run_may_be_over(id.run);
}

}  // namespace hydrogen::gang
