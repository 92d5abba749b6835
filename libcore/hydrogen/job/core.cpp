// Events, the timer, and what the coordinator says.
#include <hydrogen/job/core.hpp>

#include <algorithm>
#include <utility>

namespace hydrogen::job {

core::core(setup s) : set_(std::move(s)) {}

void core::on(event e, time_point now, std::vector<effect>& out) {
  if (phase_ == phase::over) return;
  out_ = &out;
  now_ = std::max(now_, now);
  std::visit([this](auto& x) { handle(x); }, e);
  if (now_ >= wakeup_) tick();
  settle();
  if (phase_ == phase::confirming) tick_confirming();
  out_ = nullptr;
}

void core::settle() {
  while (phase_ == phase::running && !dirty_.empty()) {
    auto& s = stages_[dirty_.back()];
    dirty_.pop_back();
    s.dirty = false;
    s.is_gang() ? settle_gang(s) : settle_parallel(s);
  }
}

expected<void> core::check_graph() const {
  const auto& stages = set_.graph.stages;
  const auto bad = [&](std::size_t i, std::string what) {
    return fail(errc::bad_input, std::move(what), set_.graph.label + ", stage " + std::to_string(i),
                "this graph cannot be run");
  };
  if (stages.empty()) return fail(errc::bad_input, "a job needs at least one stage", set_.graph.label);
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const auto& s = stages[i];
    if (s.kind == plan::stage_kind::barrier && s.partitions == 0)
      return bad(i, "a barrier stage needs at least one rank");
    const auto elastic = s.kind == plan::stage_kind::barrier && s.least_ranks() != s.partitions;
    if (elastic && s.least_ranks() > s.partitions) {
      return bad(i, "a barrier stage of at least " + std::to_string(s.least_ranks()) + " ranks and at most " +
                        std::to_string(s.partitions));
    }
    // Of these each rank takes its own piece alone, so that fewer ranks would leave some unread.
    if (elastic && !s.partition_arguments.empty()) {
      return bad(i, "a barrier stage whose number of ranks may differ has partition arguments");
    }
    if (!s.partition_arguments.empty() && s.partition_arguments.size() != s.partitions) {
      return bad(i, std::to_string(s.partition_arguments.size()) + " partition arguments for " +
                        std::to_string(s.partitions) + " partitions");
    }
    for (const auto& input : s.inputs) {
      if (input.producer >= i)
        return bad(i, "it reads stage " + std::to_string(input.producer) + ", which is not before it");
      if (elastic && input.kind == plan::input_kind::bucket)
        return bad(i, "a barrier stage whose number of ranks may differ reads the buckets of a shuffle");
    }
  }
  return {};
}

void core::handle(start&) {
  if (phase_ != phase::fresh) return;
  phase_ = phase::running;
  wakeup_ = now_ + set_.opt.retry_interval;
  away_since_ = connected_ ? never : now_;
  if (auto good = check_graph(); !good) return fail_job(std::move(good.error()));

  const auto count = set_.graph.stages.size();
  stages_.resize(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    auto& s = stages_[i];
    s.what = std::move(set_.graph.stages[i]);
    s.index = i;
    s.chain = exec::operator_chain(std::move(s.what.chain));
    s.label = (set_.app.name.empty() ? "" : set_.app.name + ": ") + "stage " + std::to_string(i) +
              (s.what.label.empty() ? "" : ", " + s.what.label);
    s.parts.resize(s.what.partitions);
    s.absent = s.what.partitions;
    for (const auto& input : s.what.inputs) stages_[input.producer].consumers.push_back({i, input.kind});
  }
  for (auto& s : stages_) s.answer_with = answer_with(s);
  for (const auto& kept : set_.kept) {
    for (auto& s : stages_) {
      if (kept.keep_as == 0 || s.what.keep_as != kept.keep_as || kept.partitions.size() != s.parts.size()) continue;
      for (std::uint32_t p = 0; p < s.parts.size(); ++p) {
        auto& part = s.parts[p];
        part.status = task_status::done;
        for (const auto& ref : kept.partitions[p]) {
          part.home = process_of(ref.at, no_index);
          part.outputs.push_back(ref.info);
        }
        if (part.home != no_index) processes_[part.home].held.push_back({s.index, p});
      }
      s.absent = 0;
      s.gang.width = kept.ranks;
    }
  }
  results_.assign(stages_.back().parts.size(), result_state::unseen);
  if (results_.empty()) return finish();
  emit(0);
  require_all(stages_.back());
}

void core::handle(cancel& m) {
  if (phase_ == phase::fresh) {
    start first;
    handle(first);
  }
  fail_job({errc::cancelled, m.why.empty() ? "cancelled" : m.why, set_.graph.label, {}});
}

void core::handle(enough&) {
  finish();
}

void core::handle(coordinator_lost&) {
  connected_ = false;
  away_since_ = now_;
}

void core::handle(coordinator_connected&) {
  connected_ = true;
  away_since_ = never;
  if (phase_ != phase::running && phase_ != phase::confirming) return;
  for (auto& r : requests_) {
    if (r.state == request_state::admitted) r.state = request_state::asked;
    if (r.state == request_state::asked) ask(r);
    // A coordinator that came back may know the request as it was first.
    if (r.state == request_state::asked && r.wants != 0) {
      r.want_open = true;
      r.want_sent_at = now_;
      say(gang::want{r.id, r.most, r.wants});
    }
    if (r.state == request_state::closing) say(gang::cancel{r.id});
  }
  for (auto& s : stages_) {
    auto& g = s.gang;
    if (!g.open) continue;
    if (g.closing) {
      say(gang::cancel{g.id});
      continue;
    }
    g.admitted = false;
    ask_gang(s);
    if (g.decision) say(*g.decision);
  }
  for (const auto l : active_leases_) {
    if (leases_[l].state == lease_state::released)
      say(gang::release_lease{requests_[leases_[l].request].id, leases_[l].attempt});
  }
  for (const auto& r : releases_) say(r.what);
}

void core::handle(from_coordinator& m) {
  const auto term = std::visit([](const auto& x) { return x.term; }, m.what);
  if (term < term_ || phase_ == phase::fresh) return;  // an old coordinator
  term_ = term;
  std::visit([this](auto& x) { heard(x); }, m.what);
}

void core::handle(from_executor& m) {
  if (phase_ == phase::fresh) return;
  std::visit([&](auto& x) { got(m.executor, x); }, m.what);
}

void core::handle(executor_unreachable& m) {
  const auto at = process_by_boot_.find(m.executor.value);
  if (at == process_by_boot_.end()) return;
  auto& process = processes_[at->second];
  if (process.gone || process.unreachable_since != never) return;
  process.unreachable_since = now_;
  process.suspect_until = std::max(process.suspect_until, now_ + set_.opt.unreachable_grace);
  wake_at(process.suspect_until);
  // A gang cannot get the rest of its results: its other ranks hear so now, and work for nothing no longer.
  if (m.stood && connected_ && phase_ == phase::running) fail_gangs_of(at->second);
}

/// Gangs that wait for a result of this process, whose connection was closed.
bool core::fail_gangs_of(std::uint32_t process) {
  bool any = false;
  for (auto& s : stages_) {
    auto& g = s.gang;
    if (!s.is_gang() || !g.placed || g.failing || g.ended) continue;
    const auto waits =
        std::find_if(g.ranks.begin(), g.ranks.end(), [&](const auto& r) { return r.process == process && !r.done; });
    if (waits == g.ranks.end()) continue;
    any = true;
    if (connected_) {
      fail_attempt(s, "the connection to the executor of rank " + std::to_string(waits - g.ranks.begin()) + " was lost",
                   false);
    }
  }
  return any;
}

void core::handle(blocks_missing& m) {
  if (phase_ != phase::running) return;
  for (const auto& ref : m.blocks) {
    if (!lose_block(ref, "the driver could not fetch it: " + m.why)) {
      fail_job({errc::disconnected, "a result block is lost and cannot be made again: " + m.why, set_.graph.label, {}});
    }
    if (phase_ != phase::running) return;
  }
  replan();
}

void core::note(gang::noted_kind what, const request_id& request, attempt_id attempt, boot_id executor) {
  say(gang::noted{what, request, attempt, executor});
}

void core::heard(gang::run_over& m) {
  if (m.run != set_.run) return;
  for (auto& r : requests_) closed(r);
  releases_.clear();
  fail_job({errc::aborted, "the cluster gave this run up", set_.graph.label,
            "the driver was away from the coordinator for too long"});
  for (auto& s : stages_) s.gang.open = false;
}

void core::heard(gang::admitted& m) {
  if (!mine(m.request)) return;
  auto& s = stages_[m.request.stage];
  if (s.is_gang()) {
    if (m.request != s.gang.id || !s.gang.open) {
      const auto releasing =
          std::any_of(releases_.begin(), releases_.end(), [&](const auto& r) { return r.what.request == m.request; });
      if (!releasing) say(gang::cancel{m.request});  // over for us: a late `admit` made it again
      return;
    }
    s.gang.admitted = true;
  } else {
    auto* r = find_request(m.request);
    if (r == nullptr || r->state == request_state::closed) return say(gang::cancel{m.request});
    if (r->state == request_state::asked) r->state = request_state::admitted;
    for (const auto& known : std::vector(r->leases)) {
      // A coordinator that came back keeps no lease of the terms before.
      auto& l = leases_[known.lease];
      if (known.attempt.term < m.term && l.state != lease_state::over) end_lease(l, gang::end_cause::restart);
    }
  }
  if (m.reason == s.reason) return;
  s.reason = m.reason;
  if (!s.reason.empty()) log(log_level::info, s.label + " waits: " + s.reason);
}

void core::heard(gang::denied& m) {
  note(gang::noted_kind::denied, m.request, {}, {});
  if (!mine(m.request)) return;
  auto& s = stages_[m.request.stage];
  if (s.is_gang()) {
    if (m.request != s.gang.id || !s.gang.open) return;
    s.gang.open = false;
  } else {
    auto* r = find_request(m.request);
    if (r == nullptr || r->state == request_state::closed) return;
    const auto wanted = r->state != request_state::closing;
    closed(*r);
    if (!wanted) return;
  }
  if (m.why.where.empty()) m.why.where = s.label;
  fail_job(std::move(m.why));
}

void core::heard(gang::ended& m) {
  note(gang::noted_kind::ended, m.request, m.attempt, {});
  if (!mine(m.request)) return;
  auto& s = stages_[m.request.stage];
  if (s.is_gang()) return gang_ended(s, m);
  auto* r = find_request(m.request);
  if (r == nullptr || r->state == request_state::closed) return;
  if (m.cause == gang::end_cause::cancelled) {  // the whole request
    const auto ours = r->state == request_state::closing;
    closed(*r);
    if (!ours)
      fail_job({errc::cancelled,
                "its request for slots was cancelled" + (m.detail.empty() ? "" : ": " + m.detail),
                s.label,
                {}});
    return;
  }
  if (auto* l = find_lease(*r, m.attempt)) {
    const auto running = !l->tasks.empty() && l->state != lease_state::over;
    end_lease(*l, m.cause);
    if (running && phase_ == phase::running) {
      log(log_level::info,
          s.label + ": a lease on " + nodes_[l->node].name + " ended" + (m.detail.empty() ? "" : ": " + m.detail));
    }
  }
}

void core::heard(gang::executor_gone& m) {
  note(gang::noted_kind::executor_gone, {m.run, set_.job, 0, 0}, {}, m.executor);
  const auto at = process_by_boot_.find(m.executor.value);
  if (m.run != set_.run || at == process_by_boot_.end()) return;
  if (phase_ != phase::running) {
    processes_[at->second].gone = true;
    return;
  }
  if (processes_[at->second].gone) return;
  const auto why = "its executor on " + m.node + " is gone" + (m.cause.empty() ? "" : ": " + m.cause);
  log(log_level::warning,
      set_.graph.label + ": an executor on " + m.node + " is gone" + (m.cause.empty() ? "" : ": " + m.cause));
  executor_lost(at->second, why);
}

void core::tick() {
  wakeup_ = now_ + set_.opt.retry_interval;
  if (phase_ == phase::fresh) return;
  if (phase_ == phase::running && !connected_ && now_ - away_since_ >= set_.opt.coordinator_limit) {
    fail_job({errc::disconnected, "the coordinator is away for too long", set_.graph.label, "is its process up?"});
  }
  tick_processes();
  tick_requests();
  tick_leases();
  for (auto& s : stages_) {
    if (s.is_gang()) tick_gang(s);
  }
  for (auto& r : releases_) {
    if (now_ - r.sent_at < set_.opt.retry_interval) continue;
    r.sent_at = now_;
    say(r.what);
  }
  if (phase_ == phase::confirming) wake_at(confirm_until_);
}

/// Connections that were closed: what was in them may be lost, so what was to come from there is done again.
void core::tick_processes() {
  for (std::uint32_t p = 0; p < processes_.size() && phase_ == phase::running; ++p) {
    auto& process = processes_[p];
    if (process.gone || process.unreachable_since == never) continue;
    const auto due = process.unreachable_since + set_.opt.unreachable_grace;
    if (now_ < due) {
      wake_at(due);
      continue;
    }
    process.unreachable_since = never;
    process.suspect_until = now_ + set_.opt.unreachable_grace;
    for (const auto index : std::vector(active_leases_)) {
      auto& l = leases_[index];
      if (l.process != p) continue;
      while (!l.tasks.empty())
        take_back(stages_[l.stage], l, l.tasks.size() - 1, "the connection to its executor was lost");
    }
    if (fail_gangs_of(p) && !connected_) process.unreachable_since = now_;  // nobody to tell
  }
}

std::vector<stage_progress> core::progress() const {
  std::vector<stage_progress> all;
  for (const auto& s : stages_) {
    stage_progress p;
    p.label = s.label;
    p.partitions = static_cast<std::uint32_t>(s.parts.size());
    p.done = p.partitions - s.absent;
    p.running = s.gang.ranks.empty() ? s.sent : readers(s);
    p.failures = s.failures;
    p.waiting_for = s.reason;
    all.push_back(std::move(p));
  }
  return all;
}

}  // namespace hydrogen::job
