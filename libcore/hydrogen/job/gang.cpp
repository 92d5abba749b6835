// Barrier stages: asking for a gang, its fence, what is decided about its attempts. The job alone owns retries.
#include <hydrogen/job/core.hpp>

#include <algorithm>
#include <utility>

namespace hydrogen::job {

bool core::gang_ready(const stage_record& s) const {
  return std::all_of(s.what.inputs.begin(), s.what.inputs.end(),
                     [&](const auto& input) { return stages_[input.producer].absent == 0; });
}

/// A connection to an executor was closed, and it is not known yet whether that one is dead. The coordinator may not
/// know either, and would place the next attempt there again.
bool core::executor_in_doubt() const {
  return std::any_of(processes_.begin(), processes_.end(),
                     [this](const auto& p) { return !p.gone && now_ < p.suspect_until; });
}

/// What was made once is made again by as many ranks: others may have read some of the output that was lost, and what
/// they read would not fit that of another world size.
core::bounds core::ranks_wanted(const stage_record& s) const {
  if (s.gang.width != 0) return {s.gang.width, s.gang.width};
  return {s.what.least_ranks(), static_cast<std::uint32_t>(s.parts.size())};
}

void core::ask_gang(stage_record& s) {
  const auto ranks = ranks_wanted(s);
  s.gang.sent_at = now_;
  say(gang::admit{{.id = s.gang.id,
                   .kind = gang::request_kind::gang,
                   .least = ranks.least,
                   .most = ranks.most,
                   .app = set_.app,
                   .label = s.label,
                   .avoid_nodes = nodes_to_avoid(),
                   .needs = s.what.needs,
                   .priority = set_.opt.priority}});
}

void core::decide(stage_record& s, gang::decision_kind kind, attempt_id attempt, std::string cause) {
  auto& g = s.gang;
  g.decision = gang::decision{g.id, attempt, ++g.number, kind, std::move(cause)};
  g.sent_at = now_;
  say(*g.decision);
}

void core::settle_gang(stage_record& s) {
  auto& g = s.gang;
  if (s.waiting + s.sent == 0) return;  // not needed, or done
  const auto ready = gang_ready(s);
  if (!g.open) {
    if (!ready) return;
    g.id = {set_.run, set_.job, s.index, g.next_k++};
    g.open = g.wanted = true;
    g.admitted = g.parked = false;
    g.floor = g.attempt = g.last = {};
    g.waiting_since = now_;
    ask_gang(s);
  } else if (g.wanted && !ready && !g.placed) {
    g.wanted = false;
    decide(s, gang::decision_kind::park, g.attempt ? g.attempt : g.last, "an input was lost and is computed again");
  } else if (!g.wanted && g.parked && ready && !executor_in_doubt()) {
    g.wanted = true;
    g.parked = false;
    g.floor = std::max(g.floor, g.last);  // raised before the coordinator hears of it
    g.attempt = {};
    g.waiting_since = now_;
    ask_gang(s);  // with the nodes to avoid as they are now
    decide(s, gang::decision_kind::again, g.last, {});
  }
}

void core::heard(gang::fence& m) {
  if (!mine(m.request) || !stages_[m.request.stage].is_gang()) return;
  auto& s = stages_[m.request.stage];
  auto& g = s.gang;
  if (!g.open || m.request != g.id || phase_ != phase::running) {
    // Done with, or never asked for. The number is above every other about this gang.
    if (!g.closing) say(gang::decision{m.request, m.attempt, ++g.number, gang::decision_kind::release, {}});
    return;
  }
  if (m.attempt <= g.floor || m.attempt < g.attempt) return;
  g.last = std::max(g.last, m.attempt);
  if (!g.wanted) {
    decide(s, gang::decision_kind::park, m.attempt, "an input was lost and is computed again");
    return;
  }
  if (g.failing && m.attempt == g.attempt) {
    // Asked by a coordinator that was restarted: the one that heard it is no more.
    if (!g.decision) decide(s, gang::decision_kind::fail, g.attempt, "it had failed before the coordinator came back");
    return;
  }
  if (m.attempt != g.attempt) {
    if (g.placed) reset_attempt(s);  // over, though its `ended` did not come
    g.floor = std::max(g.floor, g.attempt);
    g.attempt = m.attempt;
    g.checkpoints.clear();
    const auto said = g.decision ? g.decision->kind : gang::decision_kind::park;
    if (said == gang::decision_kind::again || said == gang::decision_kind::fail) g.decision.reset();
  }
  g.admitted = true;
  say(gang::fenced{g.id, m.attempt});
}

void core::heard(gang::placed& m) {
  if (!mine(m.request) || phase_ != phase::running) return;
  auto& s = stages_[m.request.stage];
  auto& g = s.gang;
  if (!s.is_gang() || !g.open || m.request != g.id || m.attempt != g.attempt || !g.attempt || g.placed) return;
  if (!g.wanted) return fail_attempt(s, "an input was lost", true);
  const auto wanted = ranks_wanted(s);
  std::size_t size = 0;
  for (const auto& member : m.members) size += member.ranks.size();
  if (size < wanted.least || size > wanted.most) {
    const auto most = wanted.least < wanted.most ? " to " + std::to_string(wanted.most) : "";
    return fail_attempt(
        s, "the member table has " + std::to_string(size) + " ranks for " + std::to_string(wanted.least) + most, false);
  }
  g.ranks.assign(size, {});
  std::vector<comm::gang_member> members(size);
  std::uint32_t found = 0;
  for (const auto& member : m.members) {
    const auto node = node_of(member.node);
    const auto process = process_of({member.executor, member.endpoint}, node);
    for (const auto rank : member.ranks) {
      if (rank >= size || g.ranks[rank].process != no_index) continue;
      g.ranks[rank].process = process;
      g.ranks[rank].node = node;
      members[rank] = {rank, member.executor, member.endpoint, member.node};
      ++found;
    }
  }
  if (found != size) {
    g.ranks.clear();
    return fail_attempt(s, "the member table names " + std::to_string(found) + " of " + std::to_string(size) + " ranks",
                        false);
  }
  g.members = std::move(members);
  g.placed = true;
  s.reason.clear();
  g.copied_bytes = 0;
  ++g.tries;
  for (std::uint32_t rank = 0; rank < s.parts.size(); ++rank) {
    auto& part = s.parts[rank];
    if (part.status == task_status::waiting) --s.waiting, ++s.sent;
    part.status = task_status::sent;
    part.attempt = rank < size ? g.tries - 1 : no_index;
  }
  choose_restore(s);
  send_ranks(s);
}

/// What each rank wrote for itself serves as many ranks as wrote it.
void core::choose_restore(stage_record& s) {
  auto& g = s.gang;
  const auto width = g.ranks.size();
  if (s.what.least_ranks() < s.parts.size()) {
    log(log_level::info, s.label + ": attempt " + to_string(g.attempt) + " has " + std::to_string(width) + " of " +
                             std::to_string(s.parts.size()) + " ranks");
  }
  g.fixed = g.restore;
  if (!g.restore || g.restore->replicated || g.restore->pieces.size() == width) return;
  g.fixed = g.replicated;
  log(log_level::warning,
      s.label + ": step " + std::to_string(g.restore->step) + " was checkpointed by each of " +
          std::to_string(g.restore->pieces.size()) + " ranks, which " + std::to_string(width) +
          " cannot restore: they begin " +
          (g.fixed ? "with the replicated checkpoint of step " + std::to_string(g.fixed->step) : "from the start"));
}

void core::heard(gang::granted& m) {
  if (!mine(m.request)) return;
  auto& g = stages_[m.request.stage].gang;
  if (m.request == g.id && g.placed && m.attempt == g.attempt) g.granted = true;
}

void core::heard(gang::decided& m) {
  if (!mine(m.request)) return;
  std::erase_if(releases_, [&](const auto& r) { return r.what.request == m.request && r.what.number <= m.number; });
  auto& s = stages_[m.request.stage];
  auto& g = s.gang;
  if (!s.is_gang() || !g.decision || m.request != g.id || m.number < g.decision->number) return;
  if (g.decision->kind == gang::decision_kind::park) g.parked = true;
  g.decision.reset();
  touch(s);
}

void core::fail_attempt(stage_record& s, std::string cause, bool spared) {
  auto& g = s.gang;
  if (g.failing || g.ended || !g.attempt) return;
  g.failing = true;
  g.spared = spared;
  decide(s, gang::decision_kind::fail, g.attempt, std::move(cause));
}

void core::gang_ended(stage_record& s, const gang::ended& m) {
  auto& g = s.gang;
  std::erase_if(releases_,
                [&](const auto& r) { return r.what.request == m.request && m.cause == gang::end_cause::cancelled; });
  if (m.request != g.id || !g.open) return;
  if (m.cause == gang::end_cause::cancelled) {
    g.open = false;
    if (phase_ == phase::running) {
      fail_job({errc::cancelled, "the gang was cancelled" + (m.detail.empty() ? "" : ": " + m.detail), s.label, {}});
    }
    return;
  }
  if (phase_ != phase::running) return;
  if (m.attempt <= g.floor) {
    // The coordinator holds it parked. If it should run, say so (again): it may have taken the last word too early.
    if (g.attempt || g.failing) return;
    if (g.wanted) {
      decide(s, gang::decision_kind::again, g.last, {});
    } else {
      g.parked = true;
    }
    touch(s);
    return;
  }
  if (m.attempt < g.attempt) return;
  g.last = std::max(g.last, m.attempt);
  g.decision.reset();
  const auto all_done = g.placed && m.attempt == g.attempt && !g.failing &&
                        std::all_of(g.ranks.begin(), g.ranks.end(), [](const auto& r) { return r.done; });
  if (all_done) {  // all results are here: the copies on their way decide
    g.ended = true;
    g.end = m;
    return;
  }
  attempt_over(s, m);
}

void core::attempt_over(stage_record& s, const gang::ended& m) {
  auto& g = s.gang;
  const auto burnt = m.burnt && !g.spared;
  auto failure = std::exchange(g.failure, std::nullopt);
  const auto tried = g.tries == 0 ? 0 : g.tries - 1;
  // What the other ranks saw of a dead executor (a closed link, a rank that is missing) explains less than its own end.
  const auto second_hand = failure && (failure->cause.code == errc::disconnected ||
                                       failure->cause.code == errc::timed_out || failure->cause.code == errc::aborted);
  for (std::uint32_t r = 0; second_hand && r < g.ranks.size(); ++r) {
    if (g.ranks[r].process == no_index || !processes_[g.ranks[r].process].gone) continue;
    task_failure first;
    first.cause = {errc::disconnected, processes_[g.ranks[r].process].end, {}, {}};
    failure = describe(s, std::move(first), r, tried, g.ranks[r].node);
    break;
  }
  if (!failure) {
    task_failure f;
    f.cause = {m.cause == gang::end_cause::lost ? errc::disconnected : errc::aborted,
               m.detail.empty() ? "the attempt was ended" : m.detail,
               {},
               {}};
    for (std::uint32_t r = 0; r < g.ranks.size(); ++r) {
      if (g.ranks[r].process == no_index || !processes_[g.ranks[r].process].gone) continue;
      f.cause = {errc::disconnected, processes_[g.ranks[r].process].end, {}, {}};
      f = describe(s, std::move(f), r, tried, g.ranks[r].node);
      break;
    }
    failure = std::move(f);
    failure->stage = s.label;
    failure->attempt = tried;
  }
  if (burnt && g.placed) {
    for (std::uint32_t n = 0; n < nodes_.size(); ++n) {
      if (nodes_[n].name == failure->host) node_failed(n);
    }
  }
  g.floor = std::max({g.floor, m.attempt, g.attempt});
  reset_attempt(s);
  g.attempt = {};
  g.wanted = false;
  g.parked = true;
  if (burnt) {
    ++s.failures;
    if (++g.burnt > s.what.barrier.retries) {
      const auto rank = failure->rank >= 0 ? ", rank " + std::to_string(failure->rank) : "";
      return fail_job({errc::task_failed,
                       "the gang failed " + std::to_string(g.burnt) + (g.burnt == 1 ? " time: " : " times, last: ") +
                           failure->cause.what,
                       s.label + rank + (failure->host.empty() ? "" : " on " + failure->host), failure->cause.hint},
                      failure);
    }
  }
  const auto wanted = ranks_wanted(s);
  const auto sure = g.restore && (g.restore->replicated || wanted.least == wanted.most);
  log(burnt ? log_level::warning : log_level::info,
      s.label + ": attempt " + to_string(m.attempt) + " is over and is retried" +
          (sure ? " from step " + std::to_string(g.restore->step) : "") + ": " + failure->cause.message());
  replan();
  touch(s);
}

/// Ranks of the attempt are over; what they left is dropped.
void core::reset_attempt(stage_record& s) {
  auto& g = s.gang;
  for (const auto& r : g.ranks) {
    drop(r.process, r.outputs);
    drop(r.copies_at, r.copies);
  }
  g.ranks.clear();
  g.placed = g.granted = g.failing = g.spared = g.ended = false;
  g.failure.reset();
  for (std::uint32_t r = 0; r < s.parts.size(); ++r) {
    if (s.parts[r].status == task_status::sent) set_waiting(s, r);
  }
}

/// The driver's own copies are lost: the stage runs once more, as a new gang.
void core::lose_gang(stage_record& s, const std::string& why) {
  for (auto& part : s.parts) {
    drop(part.home, part.outputs);
    part.status = task_status::idle;
  }
  s.absent = static_cast<std::uint32_t>(s.parts.size());
  s.all_required = false;
  s.gang.restore.reset();
  s.gang.replicated.reset();
  s.gang.checkpoints.clear();
  if (s.index + 1 == stages_.size()) {
    for (auto& state : results_) {
      if (state == result_state::emitted) state = result_state::unseen;
    }
  }
  if (++s.parts.front().recomputes > set_.opt.max_recomputes) {
    fail_job({errc::disconnected,
              "the output of the gang was lost " + std::to_string(s.parts.front().recomputes) +
                  " times, last because " + why,
              s.label,
              {}});
  }
}

void core::tick_gang(stage_record& s) {
  auto& g = s.gang;
  if (!g.open) return;
  if (now_ - g.sent_at >= set_.opt.retry_interval) {
    if (g.closing) {
      g.sent_at = now_;
      say(gang::cancel{g.id});
    } else if (phase_ == phase::running) {
      if (!g.admitted) ask_gang(s);
      if (g.decision) {
        g.sent_at = now_;
        say(*g.decision);
      }
    }
  }
  if (phase_ != phase::running) return;
  touch(s);
  if (set_.opt.start_limit > duration::zero() && g.wanted && !g.placed &&
      now_ - g.waiting_since >= set_.opt.start_limit) {
    return fail_job({errc::timed_out,
                     "the gang did not start within the start limit: " + (s.reason.empty() ? "no answer" : s.reason),
                     s.label, "`hydrogen status` says who holds the slots"});
  }
  if (!g.placed || g.failing || g.ended) return;
  send_ranks(s);
}

}  // namespace hydrogen::job
