// The threads of the simulation's executors: tasks of leases, and ranks that meet, wait at their gate and run.

#include "model_job.hpp"
#include "simulation.hpp"

#include <algorithm>

namespace hydrogen::gang::testing {
namespace {

task_id rank_of(const attempt_ref& ref, std::uint32_t rank) {
  return {ref.request.run, ref.request.job, ref.request.stage, rank, 0};
}

}  // namespace

std::uint32_t simulation::size_of(const std::vector<member>& members) {
  std::uint32_t size = 0;
  for (const auto& m : members) size += static_cast<std::uint32_t>(m.ranks.size());
  return size;
}

model_job* simulation::job_of(run_id run) {
  const auto at = std::find_if(jobs_.begin(), jobs_.end(), [&](const auto& job) { return job->app.run == run; });
  return at == jobs_.end() ? nullptr : at->get();
}

void simulation::run_next(model_executor& x, const attempt_ref& ref) {
  auto& l = x.lanes.at(ref);
  while (!l.closed && !l.holds && !l.waiting.empty() && l.running.size() < l.slots) {
    const auto id = l.waiting.front();
    l.waiting.pop_front();
    if (l.kind == request_kind::parallel) {
      l.running[id] = thread_state::inside;
      after(random(10ms, 3s), [this, boot = x.boot, ref, id] { task_ends(boot, ref, id); });
    } else {
      l.running[id] = thread_state::starting;
      after(random(10us, 1ms), [this, boot = x.boot, ref, id] { rank_comes(boot, ref, id.partition); });
    }
  }
}

void simulation::task_ends(boot_id boot, const attempt_ref& ref, const task_id& id) {
  auto* l = lane(boot, ref);
  if (l == nullptr || l->running.erase(id) == 0) return;
  after(some_delay(), [this, ref, id] { job_of(ref.request.run)->lease_task_done(ref, id.partition); });
  run_next(*executor(boot), ref);
}

// ---- joining -------------------------------------------------------------------------------------------------------

/// Half of the gangs: their ranks meet in memory that they share.
bool simulation::meet_in_one_place(const attempt_ref& ref) {
  return (ref.attempt.counter + ref.request.stage) % 2 == 0;
}

/// Half of these, and gangs of one executor: in the memory of one process, without threads.
bool simulation::meet_in_process(const attempt_ref& ref, const std::vector<member>& members) {
  return members.size() == 1 || (ref.attempt.counter + ref.request.stage) % 4 == 0;
}

/// Where ranks meet in one place, each has joined when it is there. Else a rank dials those below it, and what it says
/// waits for them at their executor; so it has joined when all executors live and those above it have come.
void simulation::rank_comes(boot_id boot, const attempt_ref& ref, std::uint32_t rank) {
  auto* x = executor(boot);
  auto* l = lane(boot, ref);
  if (l == nullptr || l->closed) return;
  const auto at = l->running.find(rank_of(ref, rank));
  if (at == l->running.end()) return;
  if (l->came.contains(rank)) return wait_at_the_gate(*x, ref, rank);
  at->second = thread_state::meeting;
  auto& meeting = meetings_[ref];
  meeting.came.insert(rank);
  const auto members = l->members;
  const auto size = size_of(members);
  if (meet_in_one_place(ref) || members.size() == 1) {
    return rank_has_met(*x, ref, rank, meeting.came.size() == size);
  }
  for (const auto& m : members) {
    if (executor(m.executor) == nullptr) return;
  }
  for (auto r = size; r-- > 0 && meeting.came.contains(r);) {
    const auto has = [r](const auto& m) { return std::find(m.ranks.begin(), m.ranks.end(), r) != m.ranks.end(); };
    const auto home = std::find_if(members.begin(), members.end(), has);
    auto* there = lane(home->executor, ref);
    if (meeting.met.contains(r) || there == nullptr || there->closed) continue;
    rank_has_met(*executor(home->executor), ref, r, false);
  }
}

void simulation::rank_has_met(model_executor& x, const attempt_ref& ref, std::uint32_t rank, bool last) {
  auto& l = x.lanes.at(ref);
  meetings_[ref].met.insert(rank);
  if (!l.running.contains(rank_of(ref, rank))) return;
  // In one place the last one tells for all.
  if (last || !(meet_in_one_place(ref) || l.members.size() == 1)) {
    after(random(10us, 1ms), [this, boot = x.boot, ref, last] {
      if (lane(boot, ref) != nullptr) tell_executor(boot, execution_event::rank_joined{ref, last});
    });
  }
  wait_at_the_gate(x, ref, rank);
  if (!l.gate_open) open_if_all_came(x, ref);
}

void simulation::wait_at_the_gate(model_executor& x, const attempt_ref& ref, std::uint32_t rank) {
  auto& l = x.lanes.at(ref);
  l.running.at(rank_of(ref, rank)) = thread_state::at_the_gate;
  if (l.gate_open) return go_inside(x, ref, l);
  if (!meet_in_one_place(ref)) return;
  // One that waits long tells for itself, so that people know.
  after(random(50ms, 60ms), [this, boot = x.boot, ref, rank] {
    const auto* there = lane(boot, ref);
    if (there == nullptr) return;
    const auto it = there->running.find(rank_of(ref, rank));
    if (it == there->running.end() || it->second != thread_state::at_the_gate) return;
    tell_executor(boot, execution_event::rank_joined{ref, false});
  });
}

/// Where all wait at one gate and were permitted to enter, the last one opens it.
void simulation::open_if_all_came(model_executor& x, const attempt_ref& ref) {
  const auto* l = lane(x.boot, ref);
  const auto& meeting = meetings_[ref];
  if (l == nullptr || l->closed || !meeting.permitted) return;
  const auto one_place = meet_in_one_place(ref) || l->members.size() == 1;
  if (one_place && meeting.met.size() == size_of(l->members)) open_gate(x, ref);
}

// ---- user code -----------------------------------------------------------------------------------------------------

void simulation::open_gate(model_executor& x, const attempt_ref& ref) {
  const auto go = gos_.find(ref);
  if (go == gos_.end()) return broken("a rank was entered without a durable Go");
  const auto& met = meetings_[ref].met;
  for (const auto& m : go->second.members) {
    for (const auto rank : m.ranks) {
      if (!met.contains(rank)) return broken("a rank was entered before every rank had joined");
    }
  }
  // One gate for all that wait at it.
  for (const auto& m : go->second.members) {
    if (m.executor != x.boot && !meet_in_one_place(ref)) continue;
    auto* there = lane(m.executor, ref);
    if (there == nullptr || there->closed) continue;
    there->gate_open = true;
    there->holds = false;
    run_next(*executor(m.executor), ref);
    go_inside(*executor(m.executor), ref, *there);
  }
}

void simulation::go_inside(model_executor& x, const attempt_ref& ref, model_lane& l) {
  for (auto& [id, state] : l.running) {
    if (state != thread_state::at_the_gate) continue;
    state = thread_state::inside;
    const auto rank = id.partition;
    if (rank >= size_of(gos_.at(ref).members)) broken("a rank beyond the size of the gang");
    if (!entered[ref].insert(rank).second) broken("one rank was entered in two places");
    auto& newest = newest_entered[ref.request];
    newest = std::max(newest, ref.attempt);
    const bool good = quiet || !rng.chance(faults.rank_fails);
    const auto work = rng.chance(0.05) ? random(8s, 15s) : random(1ms, 2s);  // longer than any deadline of starting
    after(work, [this, boot = x.boot, ref, rank, good] { rank_ends(boot, ref, rank, good); });
  }
}

void simulation::rank_ends(boot_id boot, const attempt_ref& ref, std::uint32_t rank, bool good) {
  auto* l = lane(boot, ref);
  if (l == nullptr || l->running.erase(rank_of(ref, rank)) == 0) return;
  if (l->closed && rng.chance(0.5)) return;  // it was aborted before it could return
  after(some_delay(), [this, boot, ref, rank, good] { job_of(ref.request.run)->rank_returned(ref, rank, boot, good); });
  if (!good) return;
  after(random(10us, 1ms), [this, boot, ref] { tell_executor(boot, execution_event::rank_returned{ref}); });
}

}  // namespace hydrogen::gang::testing
