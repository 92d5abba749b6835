// Which cells of the state tables a step of the simulation visits.

#include "model_job.hpp"
#include "simulation.hpp"

#include <algorithm>

namespace hydrogen::gang::testing {
namespace {

attempt_row row_of(const request_state* r, attempt_id id) {
  if (r == nullptr) return attempt_row::absent;
  const auto at = r->attempts.find(id);
  if (at == r->attempts.end()) return attempt_row::absent;
  switch (at->second.phase) {
    case attempt_phase::reserving:
      return attempt_row::reserving;
    case attempt_phase::committing:
      return attempt_row::committing;
    case attempt_phase::joining:
      return attempt_row::joining;
    case attempt_phase::running:
      return attempt_row::running;
    case attempt_phase::recovering:
      return attempt_row::recovering;
    case attempt_phase::closing:
      return attempt_row::closing;
    case attempt_phase::ending:
      break;
  }
  return at->second.end_verb == entry_verb::abort ? attempt_row::aborting : attempt_row::revoking;
}

request_row row_of(const request_state* r) {
  if (r == nullptr) return request_row::unknown;
  if (r->final) return r->final->durable ? request_row::ending : request_row::verdict;
  if (r->requeuing) return request_row::requeuing;
  if (r->parked) return request_row::parked;
  return r->attempts.empty() ? request_row::queued : request_row::attempted;
}

attempt_event event_of(const entry_report_news& m) {
  switch (m.news) {
    case entry_news::reserved:
      return attempt_event::reserved;
    case entry_news::refused:
      return attempt_event::refused;
    case entry_news::committed:
      return attempt_event::committed;
    case entry_news::joined:
      return m.everyone ? attempt_event::everyone_joined : attempt_event::joined;
    case entry_news::entered:
      return attempt_event::entered;
    case entry_news::finished:
      return attempt_event::finished;
    case entry_news::gone:
      return attempt_event::gone;
    case entry_news::absent:
      break;
  }
  return attempt_event::absent;
}

entry_event event_of(entry_verb verb) {
  switch (verb) {
    case entry_verb::commit:
      return entry_event::commit;
    case entry_verb::go:
      return entry_event::go;
    case entry_verb::permit:
      return entry_event::permit;
    case entry_verb::enter:
      return entry_event::enter;
    case entry_verb::close:
      return entry_event::close;
    case entry_verb::abort:
      return entry_event::abort;
    case entry_verb::revoke:
      return entry_event::revoke;
    case entry_verb::acknowledge_gone:
      break;
  }
  return entry_event::acknowledge_gone;
}

}  // namespace

// ---- the coordinator -----------------------------------------------------------------------------------------------

bool simulation::is_gang(const request_id& id) const {
  return std::any_of(jobs_.begin(), jobs_.end(), [&](const auto& job) { return job->gangs.contains(id); });
}

void simulation::count_attempt(const attempt_ref& ref, attempt_event e) {
  const auto row = row_of(coordinator_->known(ref.request), ref.attempt);
  (is_gang(ref.request) ? visited.gang_attempts : visited.leases).count(row, e);
}

void simulation::count_request(const request_id& id, request_event e) {
  (is_gang(id) ? visited.gangs : visited.stages).count(row_of(coordinator_->known(id)), e);
}

/// For each attempt that the coordinator knows and, if given, has a part on this node.
void simulation::count_attempts(const std::vector<request_id>& ids, boot_id agent, attempt_event e) {
  for (const auto& id : ids) {
    const auto* r = coordinator_->known(id);
    if (r == nullptr) continue;
    for (const auto& [attempt, a] : r->attempts) {
      const auto there = [&](const auto& m) { return !agent || m.is.agent == agent; };
      if (std::any_of(a.members.begin(), a.members.end(), there)) count_attempt(a.ref, e);
    }
  }
}

std::vector<request_id> simulation::requests_of(std::optional<run_id> run) const {
  std::vector<request_id> ids;
  for (const auto& job : jobs_) {
    if (run && job->app.run != *run) continue;
    for (const auto& [id, g] : job->gangs) ids.push_back(id);
    for (const auto& [id, s] : job->stages) ids.push_back(id);
  }
  return ids;
}

void simulation::count(const admission::event& e) {
  if (const auto* j = std::get_if<admission_event::job_said>(&e)) {
    if (const auto* m = std::get_if<admit>(&j->message)) {
      count_request(m->request.id, request_event::admit);
    } else if (const auto* w = std::get_if<want>(&j->message)) {
      count_request(w->request, request_event::want);
    } else if (const auto* f = std::get_if<fenced>(&j->message)) {
      count_attempt({f->request, f->attempt}, attempt_event::fenced);
    } else if (const auto* l = std::get_if<release_lease>(&j->message)) {
      count_attempt({l->request, l->attempt}, attempt_event::release_lease);
    } else if (const auto* c = std::get_if<cancel>(&j->message)) {
      count_request(c->request, request_event::cancel);
      count_attempts({c->request}, {}, attempt_event::cancel);
    } else if (const auto* d = std::get_if<decision>(&j->message)) {
      const auto offset = static_cast<std::uint8_t>(d->kind);
      static_assert(static_cast<int>(decision_kind::again) == 0 && static_cast<int>(decision_kind::park) == 1 &&
                    static_cast<int>(decision_kind::release) == 2 && static_cast<int>(decision_kind::fail) == 3);
      count_request(d->request, static_cast<request_event>(static_cast<std::uint8_t>(request_event::again) + offset));
      count_attempt({d->request, d->attempt},
                    static_cast<attempt_event>(static_cast<std::uint8_t>(attempt_event::again) + offset));
    } else if (std::holds_alternative<end_run>(j->message)) {
      for (const auto& id : requests_of(j->run)) count_request(id, request_event::end_run);
    }
  } else if (const auto* a = std::get_if<admission_event::agent_said>(&e)) {
    if (const auto* news = std::get_if<entry_report_news>(&a->message)) count_attempt(news->ref, event_of(*news));
    if (const auto* list = std::get_if<enlist>(&a->message)) {
      count_attempts(requests_of({}), list->agent, attempt_event::listed);
    }
  } else if (const auto* lost = std::get_if<admission_event::agent_lost>(&e)) {
    count_attempts(requests_of({}), lost->agent, attempt_event::agent_lost);
  } else if (const auto* driver = std::get_if<admission_event::driver_lost>(&e)) {
    for (const auto& id : requests_of(driver->run)) count_request(id, request_event::driver_lost);
  }
}

void simulation::count(const record& durable) {
  if (const auto* go = std::get_if<go_record>(&durable.body)) {
    count_attempt(go->ref, attempt_event::go_durable);
  } else if (const auto* c = std::get_if<closed_record>(&durable.body)) {
    count_request(c->ref.request, request_event::record_durable);
  } else if (const auto* x = std::get_if<cancelled_record>(&durable.body)) {
    count_request(x->request, request_event::record_durable);
  }
}

/// What a timer of the coordinator changes had a deadline.
void simulation::count_deadlines(const std::function<void()>& timer) {
  std::vector<std::pair<attempt_ref, attempt_row>> attempts;
  std::vector<std::pair<request_id, request_row>> requests;
  for (const auto& id : requests_of({})) {
    const auto* r = coordinator_->known(id);
    if (r == nullptr) continue;
    requests.emplace_back(id, row_of(r));
    for (const auto& [attempt, a] : r->attempts) attempts.emplace_back(a.ref, row_of(r, attempt));
  }
  timer();
  for (const auto& [ref, row] : attempts) {
    if (row_of(coordinator_->known(ref.request), ref.attempt) != row) {
      (is_gang(ref.request) ? visited.gang_attempts : visited.leases).count(row, attempt_event::deadline);
    }
  }
  for (const auto& [id, row] : requests) {
    if (row_of(coordinator_->known(id)) != row) {
      (is_gang(id) ? visited.gangs : visited.stages).count(row, request_event::deadline);
    }
  }
}

// ---- agents --------------------------------------------------------------------------------------------------------

void simulation::count(const model_node& n, const reservation::event& e) {
  const auto entries = n.agent->entries();
  const auto count_entry = [&](const attempt_ref& ref, entry_event what) {
    const auto at = std::find_if(entries.begin(), entries.end(), [&](const auto& x) { return x.ref == ref; });
    const auto row = at != entries.end()     ? static_cast<entry_row>(static_cast<int>(at->state) + 1)
                     : n.ended.contains(ref) ? entry_row::dead
                                             : entry_row::absent;
    (is_gang(ref.request) ? visited.gang_entries : visited.lease_entries).count(row, what);
  };
  const auto count_all = [&](entry_event what, std::optional<run_id> run = {}) {
    for (const auto& x : entries) {
      if (!run || x.ref.request.run == *run) count_entry(x.ref, what);
    }
  };
  if (const auto* c = std::get_if<reservation_event::coordinator_said>(&e)) {
    if (const auto* r = std::get_if<reserve>(&c->message)) {
      count_entry(r->ref, entry_event::reserve);
    } else if (const auto* o = std::get_if<entry_order>(&c->message)) {
      count_entry(o->ref, event_of(o->verb));
    } else if (const auto* l = std::get_if<enlisted>(&c->message)) {
      for (const auto& x : entries) {
        const bool kept = std::find(l->disown.begin(), l->disown.end(), x.ref) == l->disown.end();
        if (kept) count_entry(x.ref, entry_event::kept);
      }
      for (const auto& ref : l->disown) count_entry(ref, entry_event::disowned);
    } else if (std::holds_alternative<expelled>(c->message)) {
      count_all(entry_event::expelled);
    } else if (const auto* x = std::get_if<end_executors>(&c->message)) {
      count_all(entry_event::end_executors, x->run);
    }
  } else if (const auto* ready = std::get_if<reservation_event::executor_ready>(&e)) {
    count_all(entry_event::executor_ready, ready->run);
  } else if (const auto* failed = std::get_if<reservation_event::executor_failed>(&e)) {
    count_all(entry_event::executor_failed, failed->run);
  } else if (const auto* died = std::get_if<reservation_event::executor_died>(&e)) {
    count_all(entry_event::executor_died, died->run);
  } else if (std::holds_alternative<reservation_event::coordinator_connected>(e)) {
    count_all(entry_event::contact_back);
  } else if (std::holds_alternative<reservation_event::coordinator_lost>(e)) {
    count_all(entry_event::contact_lost);
  } else if (const auto* x = std::get_if<reservation_event::executor_said>(&e)) {
    if (const auto* joined = std::get_if<ranks_joined>(&x->message)) {
      count_entry(joined->ref, joined->everyone ? entry_event::everyone_joined : entry_event::ranks_joined);
    } else if (const auto* returned = std::get_if<ranks_returned>(&x->message)) {
      count_entry(returned->ref, entry_event::ranks_returned);
    } else if (const auto* stopped = std::get_if<attempt_stopped>(&x->message)) {
      count_entry(stopped->ref, entry_event::stopped);
    }
  }
}

/// What a timer of an agent changes had a deadline.
void simulation::count_deadlines(const model_node& n, const std::vector<entry_report>& before) {
  const auto after = n.agent->entries();
  for (const auto& x : before) {
    const auto at = std::find_if(after.begin(), after.end(), [&](const auto& y) { return y.ref == x.ref; });
    if (at != after.end() && at->state == x.state) continue;
    (is_gang(x.ref.request) ? visited.gang_entries : visited.lease_entries)
        .count(static_cast<entry_row>(static_cast<int>(x.state) + 1), entry_event::deadline);
  }
}

}  // namespace hydrogen::gang::testing
