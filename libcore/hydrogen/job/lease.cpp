// Requests and leases of parallel stages: asking, lowering, recalls, giving back.
#include <hydrogen/job/core.hpp>

#include <algorithm>
#include <utility>

namespace hydrogen::job {
namespace {

bool is_open(const request_record& r) {
  return r.state == request_state::asked || r.state == request_state::admitted;
}

}  // namespace

void core::open_request(stage_record& s, std::uint32_t most) {
  request_record r;
  r.id = {set_.run, set_.job, s.index, s.next_k++};
  r.stage = s.index;
  r.most = most;
  r.waiting_since = now_;
  s.requests.push_back(static_cast<std::uint32_t>(requests_.size()));
  requests_.push_back(std::move(r));
  ask(requests_.back());
}

void core::ask(request_record& r) {
  r.sent_at = now_;
  say(gang::admit{{.id = r.id,
                   .kind = gang::request_kind::parallel,
                   .least = 1,
                   .most = r.most,
                   .app = set_.app,
                   .label = stages_[r.stage].label,
                   .avoid_nodes = nodes_to_avoid(),
                   .needs = stages_[r.stage].what.needs,
                   .priority = set_.opt.priority}});
}

void core::close_request(request_record& r) {
  if (!is_open(r)) return;
  r.state = request_state::closing;
  r.sent_at = now_;
  say(gang::cancel{r.id});
  for (const auto& known : r.leases) {  // they end with it, and get no more tasks
    auto& l = leases_[known.lease];
    if (l.state == lease_state::over) continue;
    std::erase(stages_[r.stage].leases, known.lease);
    l.state = lease_state::over;
    l.late_until = now_;
  }
}

/// The coordinator holds nothing of it any more.
void core::closed(request_record& r) {
  r.state = request_state::closed;
  for (const auto& known : std::vector(r.leases)) end_lease(leases_[known.lease], gang::end_cause::cancelled);
}

void core::want(request_record& r, std::uint32_t most) {
  if (r.most == most) return;
  r.most = most;
  r.want_open = true;
  r.want_sent_at = now_;
  say(gang::want{r.id, r.most, ++r.wants});
}

void core::heard(gang::wanted& m) {
  auto* r = find_request(m.request);
  if (r != nullptr && m.number == r->wants) r->want_open = false;
}

/// Requests follow what can run now. A stage begins when all of its inputs are complete; one that waits for inputs
/// again (they were lost) gives its slots to those who make them.
void core::balance(stage_record& s) {
  const auto need = s.need();
  auto* r = s.requests.empty() ? nullptr : &requests_[s.requests.back()];
  if (r != nullptr && !is_open(*r)) r = nullptr;
  if (need == 0) {
    if (r != nullptr) close_request(*r);
  } else if (r == nullptr) {
    if (s.waiting == 0) open_request(s, need);
  } else if (std::uint64_t{need} * 2 <= r->most || std::uint64_t{r->most} * 2 <= need ||
             (need > r->most && s.waiting == 0)) {
    want(*r, need);  // by halves and doubles, which keeps this to a few messages per stage
  }
}

void core::settle_parallel(stage_record& s) {
  for (const auto l : std::vector(s.leases)) {
    pump(s, leases_[l]);
    if (phase_ != phase::running) return;
  }
  if (s.ready == 0) {
    for (const auto l : s.leases) steal(s, leases_[l]);
  }
  for (const auto l : std::vector(s.leases)) {
    if (leases_[l].tasks.empty()) empty_lease(leases_[l]);
  }
  balance(s);
}

/// Idle slots take tasks that wait at other executors of the stage.
void core::steal(stage_record& s, lease_record& thief) {
  while (thief.state == lease_state::open && thief.tasks.size() < thief.slots && usable(s, thief)) {
    lease_record* victim = nullptr;
    std::size_t most = 0;
    for (const auto l : s.leases) {
      auto& other = leases_[l];
      const auto extra = other.tasks.size() - std::min<std::size_t>(other.slots, other.tasks.size());
      if (&other != &thief && extra > most) most = extra, victim = &other;
    }
    if (victim == nullptr) return;
    const auto partition = victim->tasks.back().partition;
    if (choosy_about(s, s.parts[partition], thief)) return;
    take_back(s, *victim, victim->tasks.size() - 1, "another executor has a free slot");
    if (s.parts[partition].status != task_status::ready || !send(s, partition, thief)) return;
  }
}

void core::empty_lease(lease_record& l) {
  if (l.state == lease_state::closing) return release(l);
  auto& s = stages_[l.stage];
  // Tasks that are ready and not taken are choosy, or the lease is blocked for a moment: it waits with them.
  if (l.state != lease_state::open || s.ready > 0 || s.need() == 0) return;
  for (const auto index : active_leases_) {  // and while it is open whether others will deliver
    const auto& other = leases_[index];
    if (other.stage != l.stage || other.tasks.empty()) continue;
    if (other.state == lease_state::over || processes_[other.process].unreachable_since != never) return;
  }
  want(requests_[l.request], s.need());
  release(l);
}

void core::release(lease_record& l) {
  std::erase(stages_[l.stage].leases, index_of(l));
  l.state = lease_state::released;
  l.sent_at = now_;
  say(gang::release_lease{requests_[l.request].id, l.attempt});
}

void core::end_lease(lease_record& l, gang::end_cause cause) {
  if (l.state != lease_state::over) {
    std::erase(stages_[l.stage].leases, index_of(l));
    l.state = lease_state::over;
    l.late_until = now_ + set_.opt.late_result_grace;
    if (!l.tasks.empty()) wake_at(l.late_until);
    touch(stages_[l.stage]);
  }
  if (cause == gang::end_cause::lost) {
    l.late_until = now_;
    requeue_all(l, true, "their executor on " + nodes_[l.node].name + " was lost");
  }
}

void core::requeue_all(lease_record& l, bool lost, const std::string& why) {
  auto& s = stages_[l.stage];
  const auto tasks = std::exchange(l.tasks, {});
  for (std::size_t i = 0; i < tasks.size() && phase_ == phase::running; ++i) {
    const auto& part = s.parts[tasks[i].partition];
    if (part.status != task_status::sent || part.attempt != tasks[i].attempt) continue;
    // Only what ran may have ended its executor.
    if (lost && i < l.slots && !interrupted(s, tasks[i].partition, {errc::disconnected, why, {}, {}})) return;
    requeue(s, tasks[i].partition);
  }
  touch(s);
}

request_record* core::find_request(const request_id& id) {
  if (!mine(id) || id.k >= stages_[id.stage].requests.size()) return nullptr;
  return &requests_[stages_[id.stage].requests[id.k]];
}

lease_record* core::find_lease(request_record& r, attempt_id attempt) {
  for (const auto& known : r.leases) {
    if (known.attempt == attempt) return &leases_[known.lease];
  }
  return nullptr;
}

void core::heard(gang::leased& m) {
  note(gang::noted_kind::leased, m.request, m.attempt, {});
  auto* r = find_request(m.request);
  auto* known = r != nullptr ? find_lease(*r, m.attempt) : nullptr;
  if (known != nullptr && known->state != lease_state::released) return;
  if (known != nullptr) return say(gang::release_lease{m.request, m.attempt});
  if (r == nullptr || !is_open(*r) || phase_ != phase::running) {
    // Over for us: a late `admit` may have made it again after the coordinator had forgotten it.
    return say(gang::cancel{m.request});
  }
  r->state = request_state::admitted;
  stages_[r->stage].reason.clear();
  lease_record l;
  l.request = stages_[r->stage].requests[m.request.k];
  l.stage = r->stage;
  l.attempt = m.attempt;
  l.node = node_of(m.where.node);
  l.process = process_of({m.where.executor, m.where.endpoint}, l.node);
  l.slots = std::max(m.where.slots, 1u);
  const auto index = static_cast<std::uint32_t>(leases_.size());
  leases_.push_back(std::move(l));
  r->leases.push_back({m.attempt, index});
  active_leases_.push_back(index);
  stages_[r->stage].leases.push_back(index);
  touch(stages_[r->stage]);
}

void core::heard(gang::recall& m) {
  auto* r = find_request(m.request);
  if (r == nullptr || !is_open(*r) || phase_ != phase::running) return;
  if (m.term < r->recall_term || (m.term == r->recall_term && m.number < r->recall_number)) return;
  r->recall_term = m.term;
  r->recall_number = m.number;
  r->keep = m.count == 0 ? no_index : m.keep;

  auto& s = stages_[r->stage];
  std::vector<std::uint32_t> held;
  std::uint64_t slots = 0;
  for (const auto l : s.leases) {
    if (&requests_[leases_[l].request] != r) continue;
    if (r->keep == no_index && !leases_[l].leaving) leases_[l].state = lease_state::open;  // the wait is over
    if (leases_[l].state != lease_state::open) continue;
    held.push_back(l);
    slots += leases_[l].slots;
  }
  std::stable_sort(held.begin(), held.end(),
                   [&](auto a, auto b) { return leases_[a].tasks.size() < leases_[b].tasks.size(); });
  for (const auto l : held) {
    if (slots <= r->keep) break;
    close_lease(s, leases_[l], "its slots go to a gang that waits");
    slots -= leases_[l].slots;
  }
  touch(s);
}

/// What has not begun goes back to its stage; the lease is released when the rest is over.
void core::close_lease(stage_record& s, lease_record& l, const char* why) {
  l.state = lease_state::closing;
  while (l.tasks.size() > l.slots) take_back(s, l, l.tasks.size() - 1, why);
}

void core::heard(gang::hand_back& m) {
  auto* r = find_request(m.request);
  auto* l = r != nullptr ? find_lease(*r, m.attempt) : nullptr;
  if (l == nullptr || phase_ != phase::running) return;
  l->leaving = true;
  if (l->state == lease_state::open) close_lease(stages_[l->stage], *l, "its node is drained");
  touch(stages_[l->stage]);
}

void core::tick_requests() {
  const auto due = [&](time_point sent) { return now_ - sent >= set_.opt.retry_interval; };
  for (auto& r : requests_) {
    if (r.state == request_state::asked && due(r.sent_at)) ask(r);
    if (r.state == request_state::closing && due(r.sent_at)) {
      r.sent_at = now_;
      say(gang::cancel{r.id});
    }
    if (r.want_open && is_open(r) && due(r.want_sent_at)) {
      r.want_sent_at = now_;
      say(gang::want{r.id, r.most, r.wants});
    }
    if (set_.opt.start_limit > duration::zero() && is_open(r) && r.leases.empty() &&
        now_ - r.waiting_since >= set_.opt.start_limit) {
      fail_job({errc::timed_out,
                "no slot within the start limit: " +
                    (stages_[r.stage].reason.empty() ? "no answer" : stages_[r.stage].reason),
                stages_[r.stage].label, "`hydrogen status` says who holds the slots"});
    }
    if (phase_ != phase::running && phase_ != phase::confirming) return;
  }
}

void core::tick_leases() {
  std::erase_if(active_leases_,
                [&](auto l) { return leases_[l].state == lease_state::over && leases_[l].tasks.empty(); });
  for (const auto index : std::vector(active_leases_)) {
    auto& l = leases_[index];
    if (phase_ != phase::running) return;
    touch(stages_[l.stage]);
    if (l.state == lease_state::over) {
      if (now_ >= l.late_until)
        requeue_all(l, false, {});
      else
        wake_at(l.late_until);
      continue;
    }
    if (l.state == lease_state::released) {
      if (now_ - l.sent_at >= set_.opt.retry_interval) {
        l.sent_at = now_;
        say(gang::release_lease{requests_[l.request].id, l.attempt});
      }
      continue;
    }
    if (l.refused_since != never && now_ - l.refused_since >= set_.opt.refusal_limit) {
      log(log_level::warning, "a lease on " + nodes_[l.node].name + " is given back: its executor refuses the tasks");
      while (!l.tasks.empty()) take_back(stages_[l.stage], l, l.tasks.size() - 1, "refused for too long");
      release(l);
      continue;
    }
    auto& s = stages_[l.stage];
    for (auto& task : l.tasks) {
      if (now_ < task.resend_at) continue;
      task.resend_at = now_ + set_.opt.task_repeat;
      out_->push_back(
          to_executor{processes_[l.process].ref, exec::run_task{make_task(s, task.partition, task.attempt)}});
    }
  }
}

}  // namespace hydrogen::job
