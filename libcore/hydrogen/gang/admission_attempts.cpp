// The life of an attempt: a gang's, or a lease.

#include <hydrogen/gang/admission.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>

namespace hydrogen::gang {

void admission::start_attempt(request_state& r, std::vector<member> members) {
  const attempt_id id{term_, ++attempts_made_};
  auto& a = r.attempts[id];
  a.ref = {r.what.id, id};
  a.begun = now_;
  a.deadline = now_ + options_.reserve_timeout;
  for (auto& m : members) {
    a.slots += m.slots;
    ledger_.debit(m.agent, a.ref, m.slots, r.what.needs.each);
    a.members.push_back({std::move(m), member_progress::asked});
  }
  r.held += a.slots;
  if (r.is_gang()) {
    r.last_attempt = id;
    r.last_had_go = false;
    forget_notice(r.what.id.run, {noted_kind::ended, r.what.id, id, {}});
    tell_job(r.what.id.run, fence{term_, r.what.id, id});
  }
  reindex(r);
  ask_all(r, a);
}

/// Says (again) what this member has to answer next.
void admission::owe(const attempt_state& a, const attempt_member& m, const request_state& r) {
  const auto agent = m.is.agent;
  switch (a.phase) {
    case attempt_phase::reserving:
      if (m.progress < member_progress::reserved) {
        tell_agent(agent, reserve{term_, agent, a.ref, r.what.kind, r.what.app, m.is.slots, r.what.needs.each});
      }
      return;
    case attempt_phase::committing:
      if (m.progress < member_progress::committed) order(agent, a.ref, entry_verb::commit);
      return;
    case attempt_phase::joining:
      if (m.progress < member_progress::joined) order(agent, a.ref, entry_verb::go);
      return;
    case attempt_phase::recovering:
      return;  // it sends its list
    case attempt_phase::running:
      if (m.progress >= member_progress::entered) return;
      return order(agent, a.ref, r.is_gang() ? entry_verb::enter : entry_verb::go);
    case attempt_phase::closing:
      if (m.holds()) order(agent, a.ref, entry_verb::close);
      return;
    case attempt_phase::ending:
      if (m.holds()) order(agent, a.ref, a.end_verb);
      return;
  }
}

void admission::ask_all(request_state& r, attempt_state& a) {
  const auto told = a.phase == attempt_phase::running ? std::exchange(a.speaker, {}) : boot_id{};
  for (const auto& m : a.members) {
    if (!told || m.is.agent != told) owe(a, m, r);
  }
  wakes_.set({wake_kind::attempt, r.what.id, a.ref.attempt, {}}, now_ + options_.retry);
}

/// What they need for their own state only: most gangs of short ranks are over by then.
void admission::tell_agents_later(const request_state& r, const attempt_state& a) {
  wakes_.set({wake_kind::attempt, r.what.id, a.ref.attempt, {}}, now_ + options_.tell_agents_after);
}

void admission::repeat_attempt(request_state& r, attempt_state& a) {
  if (a.phase == attempt_phase::recovering) return repeat_recovery(r, a);
  if (a.phase == attempt_phase::reserving && now_ >= a.deadline) {
    return end_attempt(r, a, entry_verb::abort, after_end::queue, end_cause::expired, false,
                       "not every node answered the reservation in time");
  }
  if (r.is_gang() && a.before_go() && !a.fenced) {
    if (now_ >= a.begun + options_.fence_timeout) {
      return end_attempt(r, a, entry_verb::abort, after_end::park, end_cause::expired, false,
                         "the job did not acknowledge the fence of the attempt in time");
    }
    tell_job(r.what.id.run, fence{term_, r.what.id, a.ref.attempt});
  }
  if (a.phase == attempt_phase::joining && std::exchange(a.told_agents, true)) {
    placed message{term_, r.what.id, a.ref.attempt, {}};
    for (const auto& m : a.members) message.members.push_back(m.is);
    tell_job(r.what.id.run, std::move(message));
  }
  const bool done = a.phase == attempt_phase::running && a.progressed == a.members.size();
  if (done) return;
  ask_all(r, a);
}

void admission::progress(request_state& r, attempt_state& a, attempt_member& m, const entry_report_news& news) {
  switch (news.news) {
    case entry_news::reserved:
      if (a.phase != attempt_phase::reserving || m.progress != member_progress::asked) return;
      m.progress = member_progress::reserved;
      break;
    case entry_news::committed: {
      const bool at_once = a.phase == attempt_phase::reserving && m.progress == member_progress::asked;
      if (!at_once) {
        if (a.phase != attempt_phase::committing) return;
        const bool counted = m.progress == member_progress::ready;
        if (!counted && m.progress != member_progress::reserved) return;
        m.progress = member_progress::committed;
        if (counted) return;
      } else {
        m.progress = member_progress::ready;
      }
      m.is.executor = news.executor;
      m.is.endpoint = news.endpoint;
      ledger_.find(m.is.agent)->executors[news.executor] = r.what.id.run;
      break;
    }
    case entry_news::joined:
      if (a.phase != attempt_phase::joining || m.progress != member_progress::committed) return;
      m.progress = member_progress::joined;
      a.meets = news.meets;
      if (news.everyone) {
        return everyone_joined(r, a, m.is.agent);
      }
      break;
    case entry_news::entered:
      if (a.phase != attempt_phase::running || m.progress >= member_progress::entered) return;
      m.progress = member_progress::entered;
      r.failed_executors.clear();
      break;
    default:
      return;
  }
  if (++a.progressed == a.members.size()) step_done(r, a);
}

void admission::step_done(request_state& r, attempt_state& a) {
  const auto& id = r.what.id;
  switch (a.phase) {
    case attempt_phase::reserving:
      a.phase = attempt_phase::committing;
      a.progressed = 0;
      for (const auto& m : a.members) {
        host_of(id.run, m.is.agent);
        a.progressed += m.progress == member_progress::ready ? 1 : 0;
      }
      // With all executors up the go serves as the commit, unless it has to wait: then repeats say commit.
      if (a.progressed < a.members.size()) return ask_all(r, a);
      return step_done(r, a);
    case attempt_phase::committing:
      if (r.is_gang()) {
        if (a.fenced) decide(r, a);
        return;
      }
      a.phase = attempt_phase::running;
      a.progressed = 0;
      a.told_job = true;
      ask_all(r, a);
      return notify(id.run, {noted_kind::leased, id, a.ref.attempt, {}},
                    leased{term_, id, a.ref.attempt, a.members.front().is});
    case attempt_phase::joining:
      return enter_if_all_joined(r, a);
    default:
      return;
  }
}

/// Ranks join while the Go record is synced; nobody enters before it is durable.
void admission::decide(request_state& r, attempt_state& a) {
  if (r.final) return;  // its attempt is about to be ended
  a.phase = attempt_phase::joining;
  a.progressed = 0;
  a.go_written = true;
  go_record go{a.ref, {}};
  for (auto& m : a.members) {
    m.progress = member_progress::committed;
    go.members.push_back(m.is);
  }
  placed message{term_, r.what.id, a.ref.attempt, go.members};
  gates_.push_back({append(std::move(go)), gate_kind::go, r.what.id, a.ref.attempt, 0});
  tell_job(r.what.id.run, std::move(message));
  tell_agents_later(r, a);  // their executors hear it from the job
  log(false, fmt::format("{} ({}) attempt {}: go, {} ranks on {} nodes", r.what.label, to_string(r.what.id),
                         to_string(a.ref.attempt), a.slots, a.members.size()));
}

void admission::enter_if_all_joined(request_state& r, attempt_state& a) {
  if (a.phase != attempt_phase::joining || !a.go_durable) return;
  if (a.progressed < a.members.size()) {
    // Whoever comes last lets all in, if they meet in one place: then nobody waits for a word from here.
    if (!std::exchange(a.permitted, true)) order(a.members.front().is.agent, a.ref, entry_verb::permit);
    return;
  }
  a.phase = attempt_phase::running;
  a.progressed = static_cast<std::uint32_t>(std::count_if(
      a.members.begin(), a.members.end(), [](const auto& m) { return m.progress >= member_progress::entered; }));
  if (!a.speaker) {
    ask_all(r, a);
  } else {
    if (std::exchange(a.permitted, false)) a.speaker = {};  // they are in
    for (const auto& m : a.members) {
      if (m.is.agent == a.speaker) owe(a, m, r);
    }
    tell_agents_later(r, a);
  }
  tell_job(r.what.id.run, granted{term_, r.what.id, a.ref.attempt});
}

void admission::everyone_joined(request_state& r, attempt_state& a, boot_id speaker) {
  a.speaker = speaker;
  for (auto& m : a.members) m.progress = std::max(m.progress, member_progress::joined);
  a.progressed = static_cast<std::uint32_t>(a.members.size());
  enter_if_all_joined(r, a);
}

// ---- the end of an attempt -----------------------------------------------------------------------------------------

void admission::stop_using(request_state& r, attempt_state& a, attempt_phase phase) {
  r.held -= a.slots;
  a.phase = phase;
  a.progressed = 0;
  for (const auto& m : a.members) {
    if (m.holds()) ledger_.returns(m.is.agent, a.ref);
  }
  forget_notice(r.what.id.run, {noted_kind::leased, r.what.id, a.ref.attempt, {}});
  forget_notice(r.what.id.run, {noted_kind::hand_back, r.what.id, a.ref.attempt, {}});
  reindex(r);
  queue_changed_ = true;
  if (a.gone == a.members.size()) {
    over_.push_back(a.ref);
  } else if (r.is_gang() && phase == attempt_phase::closing) {
    // The job has all results, so the agents are about to say that the ranks have returned.
    tell_agents_later(r, a);
  } else {
    ask_all(r, a);
  }
}

void admission::end_attempt(request_state& r, attempt_state& a, entry_verb verb, after_end then, end_cause cause,
                            bool burnt, std::string detail) {
  if (a.phase == attempt_phase::closing) return;
  if (a.phase == attempt_phase::ending) {
    if (then == after_end::park && a.then == after_end::queue) {
      a.then = then;
      a.cause = cause;
      a.burnt = burnt;
      a.detail = std::move(detail);
    }
    return;
  }
  a.end_verb = verb;
  a.then = then;
  a.cause = cause;
  a.burnt = burnt;
  a.detail = std::move(detail);
  if (!a.detail.empty()) {
    log(true, fmt::format("{} ({}) attempt {} ends: {}", r.what.label, to_string(r.what.id), to_string(a.ref.attempt),
                          a.detail));
  }
  stop_using(r, a, attempt_phase::ending);
}

void admission::close_attempt(request_state& r, attempt_state& a) {
  if (a.over()) return;
  stop_using(r, a, attempt_phase::closing);
}

void admission::member_gone(request_state& r, attempt_state& a, attempt_member& m, const entry_report_news& news) {
  if (!m.holds()) return;
  // Permitted, they need not wait until it is said here that all have joined.
  if (news.news == entry_news::finished && a.phase == attempt_phase::joining && a.permitted)
    everyone_joined(r, a, m.is.agent);
  const auto returned = news.news == entry_news::finished && a.phase >= attempt_phase::running;
  if (m.progress < member_progress::entered) ++a.progressed;  // of phase running
  m.progress = returned ? member_progress::finished : member_progress::gone;
  ++a.gone;
  ledger_.credit(m.is.agent, a.ref);
  queue_changed_ = true;
  if (a.over()) {
    // It was expected.
  } else if (returned) {
    r.failed_executors.clear();
    go_on_if_all_back(r, a);
  } else {
    auto why = news.detail && !news.detail->what.empty()
                   ? *news.detail
                   : error{errc::internal, fmt::format("node {} does not hold its part any more", m.is.node), {}, {}};
    const auto detail = why.message();
    const auto cause =
        news.cause == end_cause::none || news.cause == end_cause::cancelled ? end_cause::lost : news.cause;
    const bool before_go = a.before_go();
    if (cause == end_cause::lost || news.refusal == refusal_kind::executor) avoid(r, m.is.node);
    if (before_go) {
      r.not_before = now_ + options_.retry;
      end_attempt(r, a, entry_verb::abort, after_end::queue, cause, false, detail);
      if (news.refusal == refusal_kind::application && !r.final) {
        pronounce(r, close_reason::failed, std::move(why));
      } else if (news.refusal == refusal_kind::executor && !r.final) {
        r.failed_executors.insert(news.executor);  // many leases may have waited for the same one
        if (r.failed_executors.size() >= options_.executor_failures) {
          why.what =
              fmt::format("executors failed to start {} times, the last: {}", r.failed_executors.size(), why.what);
          pronounce(r, close_reason::failed, std::move(why));
        }
      }
    } else {
      const bool lease_before_go = !r.is_gang() && !a.told_job;
      end_attempt(r, a, entry_verb::revoke, lease_before_go ? after_end::queue : after_end::park, cause, r.is_gang(),
                  detail);
    }
  }
  attempt_may_be_over(r, a);
}

bool admission::attempt_may_be_over(request_state& r, attempt_state& a) {
  if (!a.over() || a.gone < a.members.size()) return false;
  const auto id = a.ref.attempt;
  const auto a_was = std::move(a);
  for (const auto& m : a_was.members) {
    if (m.progress == member_progress::finished && !is_dead_boot(m.is.agent)) acknowledge_soon(m.is.agent, a_was.ref);
  }
  wakes_.clear({wake_kind::attempt, r.what.id, id, {}});
  r.attempts.erase(id);
  const auto& run = r.what.id.run;
  if (!r.is_gang()) {
    if (a_was.phase == attempt_phase::closing) {
      tell_job(run, ended{term_, r.what.id, id, end_cause::none, false, {}});
    } else if (a_was.told_job && !r.final) {
      notify(run, {noted_kind::ended, r.what.id, id, {}},
             ended{term_, r.what.id, id, a_was.cause, a_was.burnt, a_was.detail});
    }
  } else {
    r.last_had_go = a_was.go_written;
    r.retried = r.retried || a_was.go_written;
    if (!r.final && a_was.then == after_end::park) park(r, id, a_was.cause, a_was.burnt, a_was.detail);
  }
  reindex(r);
  if (r.final && r.final->durable && r.attempts.empty()) request_over(r);
  return true;
}

void admission::park(request_state& r, attempt_id attempt, end_cause cause, bool burnt, const std::string& detail) {
  r.parked = true;
  r.requeuing = false;
  reindex(r);
  notify(r.what.id.run, {noted_kind::ended, r.what.id, attempt, {}},
         ended{term_, r.what.id, attempt, cause, burnt, detail});
}

}  // namespace hydrogen::gang
