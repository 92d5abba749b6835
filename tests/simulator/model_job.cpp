#include "model_job.hpp"

#include <algorithm>

namespace hydrogen::gang::testing {

void model_job::connect() {
  if (!alive || ended) return;
  connected = true;
  ++connection;
  begun = false;
  for (auto& [id, g] : gangs) g.admitted = false;
  for (auto& [id, s] : stages) s.admitted = false;
  if (!ending) send(begin_run{app});
}

bool model_job::settled() const {
  if (!alive || gave_up) return true;
  for (const auto& [id, g] : gangs) {
    if (g.end == outcome::open || g.pending) return false;
  }
  for (const auto& [id, s] : stages) {
    if (s.end == outcome::open) return false;
  }
  return true;
}

std::string model_job::open_requests() const {
  std::string text;
  for (const auto& [id, g] : gangs) {
    if (g.end == outcome::open || g.pending) {
      text += " gang " + to_string(id) + " fence " + to_string(g.fence) + (g.fence_open ? " open" : " closed") +
              (g.pending ? " decision " + std::to_string(static_cast<int>(g.pending->kind)) : "") +
              (g.cancelling ? " cancelling" : "");
    }
  }
  for (const auto& [id, s] : stages) {
    if (s.end == outcome::open) {
      text += " stage " + to_string(id) + " to do " + std::to_string(s.to_do) + " running " +
              std::to_string(s.running) + " leases " + std::to_string(s.leases.size());
    }
  }
  return text;
}

/// Everything unanswered, once in each retry interval.
void model_job::tick() {
  if (!alive || ended) return;
  if (connected) {
    if (ending) {
      send(end_run{app.run});
    } else if (!begun) {
      send(begin_run{app});
    } else {
      for (auto& [id, g] : gangs) {
        if (g.end != outcome::open && !g.pending) continue;
        if (g.cancelling) {
          send(cancel{id});
        } else {
          if (!g.admitted && !g.released) send(admit{g.what});
          if (g.pending) send(*g.pending);
          if (g.fence_open) send_tasks(g);
        }
      }
      for (auto& [id, s] : stages) {
        if (s.end != outcome::open) continue;
        if (s.cancelling) {
          send(cancel{id});
          continue;
        }
        if (!s.admitted) {
          send(admit{s.what});
        } else if (!s.want_answered) {
          send(want{id, s.what.most, s.want_number});
        }
        for (auto& [attempt, lease] : s.leases) {
          if (lease.releasing) send(release_lease{id, attempt});
        }
      }
    }
  }
  for (auto& [id, s] : stages) {
    if (s.end == outcome::open && !s.cancelling) use(s);
  }
  sim.after(500ms, [this] { tick(); });
}

void model_job::decide(model_gang& g, decision_kind kind, attempt_id attempt) {
  sim.trace("    job " + app.name + " decides " + std::to_string(static_cast<int>(kind)) + " on " + to_string(attempt));
  g.pending = decision{g.what.id, attempt, ++g.decisions, kind, "decided by the job"};
  if (kind == decision_kind::release) g.released = true;
  if (kind == decision_kind::fail) g.failing = attempt;
  if (kind == decision_kind::again) {
    g.fence_open = false;  // rule 10
    g.wants_parked = false;
  }
  if (begun) send(*g.pending);
}

task_id model_job::task_of(const request_id& id, std::uint32_t partition) const {
  return {app.run, id.job, id.stage, partition, 0};
}

void model_job::send_tasks(const model_gang& g) {
  for (const auto& m : g.placed) {
    sim.send_gang(m.executor, {g.what.id, g.fence}, g.placed);
    for (const auto rank : m.ranks) {
      // A refused one too is said again.
      if (!g.results.contains(rank)) sim.send_task(m.executor, {g.what.id, g.fence}, task_of(g.what.id, rank));
    }
  }
}

void model_job::rank_returned(const attempt_ref& ref, std::uint32_t rank, boot_id executor, bool good) {
  if (!alive) return;
  auto& g = gangs.at(ref.request);
  if (g.end != outcome::open || ref.attempt != g.fence || !g.fence_open) return;  // an old attempt
  if (sim.newest_entered[ref.request] > ref.attempt) sim.broken("a result of an old attempt was accepted");
  if (!sim.entered[ref].contains(rank)) sim.broken("a rank returned that was never entered");
  if (!good) {
    const bool decided_it = g.pending && g.pending->kind != decision_kind::again;
    if (!decided_it && !g.cancelling) decide(g, decision_kind::fail, ref.attempt);
    return;
  }
  g.results[rank] = executor;
  if (g.results.size() == g.width() && !g.cancelling) decide(g, decision_kind::release, ref.attempt);
}

void model_job::after_end(request_id id, attempt_id attempt) {
  if (!alive) return;
  auto& g = gangs.at(id);
  if (g.end != outcome::open || g.cancelling || g.released || g.last_ended != attempt || g.fence_open) return;
  decide(g, decision_kind::again, attempt);
}

void model_job::cancel_something() {
  if (!alive) return;
  for (auto& [id, g] : gangs) {
    if (g.end == outcome::open && !g.released && !g.cancelling && sim.rng.chance(0.5)) {
      g.cancelling = true;
      g.pending.reset();
      if (begun) send(cancel{id});
      return;
    }
  }
  for (auto& [id, s] : stages) {
    if (s.end == outcome::open && !s.cancelling) {
      s.cancelling = true;
      if (begun) send(cancel{id});
      return;
    }
  }
}

void model_job::cancel_everything() {
  for (auto& [id, g] : gangs) {
    if (g.end != outcome::open || g.released) continue;
    if (!begun) g.end = outcome::cancelled;  // nothing was asked for
    g.cancelling = true;
    g.pending.reset();
    if (begun) send(cancel{id});
  }
  for (auto& [id, s] : stages) {
    if (s.end != outcome::open) continue;
    if (!begun) s.end = outcome::cancelled;
    s.cancelling = true;
    if (begun) send(cancel{id});
  }
}

void model_job::park_something() {
  if (!alive) return;
  for (auto& [id, g] : gangs) {
    if (g.end != outcome::open || g.released || g.cancelling || g.wants_parked || g.pending || !g.admitted) continue;
    if (g.last_ended && g.last_ended == g.fence) continue;  // it is parked
    g.wants_parked = true;
    decide(g, decision_kind::park, g.fence);
    return;
  }
}

// ---- what the coordinator says -------------------------------------------------------------------------------------

void model_job::said(const to_job& message) {
  if (!alive || ended) return;
  sim.trace("    job " + app.name + " gets message " + std::to_string(message.index()));
  const auto gang_of = [&](const request_id& id) {
    const auto at = gangs.find(id);
    return at == gangs.end() ? nullptr : &at->second;
  };
  const auto stage_of = [&](const request_id& id) {
    const auto at = stages.find(id);
    return at == stages.end() ? nullptr : &at->second;
  };
  if (std::holds_alternative<gang::begun>(message)) {
    begun = true;
  } else if (std::holds_alternative<run_over>(message)) {
    if (ending) {
      ended = true;
    } else {
      gave_up = ended = true;
    }
  } else if (const auto* m = std::get_if<gang::admitted>(&message)) {
    if (auto* g = gang_of(m->request)) g->admitted = true;
    if (auto* s = stage_of(m->request)) {
      s->admitted = true;
      follow_term(*s, m->term);
    }
  } else if (const auto* m = std::get_if<gang::denied>(&message)) {
    send(noted{noted_kind::denied, m->request, {}, {}, 0});
    if (!sim.denied_rightly.contains(m->request) && m->why.code != errc::refused &&
        m->why.what.find("executors failed to start") == std::string::npos && m->why.what != "no entry") {
      sim.broken("denied without a cause: " + m->why.message());
    }
    if (auto* g = gang_of(m->request); g && g->end == outcome::open) {
      g->end = outcome::failed;
      g->pending.reset();
    }
    if (auto* s = stage_of(m->request); s && s->end == outcome::open) s->end = outcome::failed;
  } else if (const auto* m = std::get_if<gang::fence>(&message)) {
    auto* g = gang_of(m->request);
    if (g == nullptr || m->attempt < g->fence) return;
    if (g->end != outcome::open || g->cancelling) return;
    if (g->released || g->wants_parked) {  // rule 12
      if (!g->pending) decide(*g, g->released ? decision_kind::release : decision_kind::park, g->fence);
      return;
    }
    if (m->attempt == g->failing) {
      if (!g->pending) decide(*g, decision_kind::fail, g->failing);
      return;
    }
    if (m->attempt > g->fence) {
      g->fence = m->attempt;
      g->fence_open = true;
      g->results.clear();
      g->placed.clear();
    }
    if (g->fence_open) send(fenced{m->request, m->attempt});
  } else if (const auto* m = std::get_if<gang::placed>(&message)) {
    auto* g = gang_of(m->request);
    if (g == nullptr || m->attempt != g->fence || !g->fence_open) return;
    g->placed = m->members;
    if (g->width() < g->what.least || g->width() > g->what.most)
      sim.broken("a gang of another width than was asked for");
    send_tasks(*g);
  } else if (const auto* m = std::get_if<gang::leased>(&message)) {
    send(noted{noted_kind::leased, m->request, m->attempt, {}, 0});
    auto* s = stage_of(m->request);
    if (s != nullptr) follow_term(*s, m->term);
    if (s == nullptr || s->end != outcome::open || s->cancelling || m->attempt.term < s->term) {
      send(release_lease{m->request, m->attempt});
      return;
    }
    if (!ended_leases.contains({m->request, m->attempt}))
      s->leases.try_emplace(m->attempt, model_lease{m->where, {}, false});
    use(*s);
  } else if (const auto* m = std::get_if<gang::recall>(&message)) {
    auto* s = stage_of(m->request);
    send(noted{noted_kind::recall, m->request, {}, {}, m->number});
    if (s == nullptr || m->term < s->term) return;
    follow_term(*s, m->term);
    if (m->number <= s->recall_number) return;
    s->recall_number = m->number;
    s->keep = m->count == 0 ? UINT32_MAX : m->keep;
    if (!s->cancelling && s->end == outcome::open) use(*s);
  } else if (const auto* m = std::get_if<gang::hand_back>(&message)) {
    auto* s = stage_of(m->request);
    if (s == nullptr || s->end != outcome::open || s->cancelling) return;
    if (const auto lease = s->leases.find(m->attempt); lease != s->leases.end()) lease->second.leaving = true;
    use(*s);
  } else if (const auto* m = std::get_if<gang::ended>(&message)) {
    send(noted{noted_kind::ended, m->request, m->attempt, {}, 0});
    if (auto* s = stage_of(m->request)) {
      if (m->cause == end_cause::cancelled) {
        if (s->end == outcome::open) {
          if (!s->cancelling && !was_away) sim.broken("a stage was cancelled that nobody cancelled");
          s->end = s->to_do == 0 ? outcome::done : outcome::cancelled;
        }
        return;
      }
      ended_leases.insert({m->request, m->attempt});
      drop_lease(*s, m->attempt);
      if (!s->cancelling && s->end == outcome::open) use(*s);
    }
    if (auto* g = gang_of(m->request)) {
      if (g->end != outcome::open) return;
      if (m->cause == end_cause::cancelled) {
        if (!g->cancelling && !g->released && !was_away) sim.broken("a gang was cancelled that nobody cancelled");
        g->end = g->released ? outcome::done : outcome::cancelled;
        g->pending.reset();
        return;
      }
      if (g->cancelling || g->released) return;
      if (m->attempt < g->fence || (m->attempt == g->last_ended && !g->wants_parked)) return;
      if (!g->placed.empty() && g->results.size() == g->width() && m->attempt == g->fence)
        return;  // release is on its way
      const bool again_pending =
          g->pending && g->pending->kind == decision_kind::again && g->pending->attempt == m->attempt;
      if (again_pending) return;
      g->last_ended = m->attempt;
      g->fence = std::max(g->fence, m->attempt);
      g->fence_open = false;
      g->pending.reset();
      if (sim.only_restarts() && m->cause != end_cause::gave_way && sim.is_decided({m->request, m->attempt})) {
        sim.broken("a gang that could go on did not survive its coordinator: " + m->detail);
      }
      if (m->burnt && sim.quiet && ++g->burnt_in_peace > 5)
        sim.broken("a gang was lost again and again without a fault");
      sim.after(sim.random(0ms, 400ms), [this, id = m->request, a = m->attempt] { after_end(id, a); });
    }
  } else if (const auto* m = std::get_if<gang::decided>(&message)) {
    auto* g = gang_of(m->request);
    if (g == nullptr || !g->pending || g->pending->number != m->number) return;
    const auto kind = g->pending->kind;
    g->pending.reset();
    if (kind == decision_kind::release && g->end == outcome::open) g->end = outcome::done;
  } else if (const auto* m = std::get_if<gang::wanted>(&message)) {
    if (auto* s = stage_of(m->request); s && m->number == s->want_number) s->want_answered = true;
  } else if (const auto* m = std::get_if<executor_gone>(&message)) {
    send(noted{noted_kind::executor_gone, {m->run, 0, 0, 0}, {}, m->executor, 0});
  }
}

}  // namespace hydrogen::gang::testing
