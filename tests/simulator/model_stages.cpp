// The parallel stages of a job.

#include "model_job.hpp"

#include <algorithm>

namespace hydrogen::gang::testing {

void model_job::use(model_stage& s) {
  const auto id = s.what.id;
  std::uint32_t held = 0;
  for (const auto& [a, lease] : s.leases) held += lease.releasing ? 0 : lease.where.slots;
  for (auto& [a, lease] : s.leases) {
    if (lease.releasing) continue;
    const std::size_t slots = lease.where.slots;
    const bool recalled = held > s.keep || lease.leaving;
    while (recalled && lease.tasks.size() > slots) take_back(s, lease);
    for (auto& [b, other] : s.leases) {  // a free slot takes what waits elsewhere
      if (!recalled && s.to_do == 0 && lease.tasks.empty() && other.tasks.size() > other.where.slots) {
        take_back(s, other);
      }
    }
    if ((s.to_do == 0 || recalled) && lease.tasks.empty()) {
      lease.releasing = true;
      held -= lease.where.slots;
      if (begun) send(release_lease{id, a});
      continue;
    }
    while (!recalled && s.to_do > 0 && lease.tasks.size() < 2 * slots) {
      --s.to_do;
      ++s.running;
      lease.tasks.insert(s.given);
      give_task({id, a}, lease.where.executor, s.given++);
    }
  }
  const auto wanted = s.to_do + s.running;
  if (wanted != s.what.most) {
    s.what.most = wanted;
    s.want_number++;
    s.want_answered = false;
    if (begun && s.admitted) send(want{id, wanted, s.want_number});
  }
  if (s.to_do == 0 && s.running == 0 && !s.cancelling) {
    s.cancelling = true;
    if (begun) send(cancel{id});
  }
}

/// The one sent last, which has not started, or is aborted.
void model_job::take_back(model_stage& s, model_lease& lease) {
  const auto last = *lease.tasks.rbegin();
  lease.tasks.erase(last);
  --s.running;
  ++s.to_do;
  sim.cancel_task(lease.where.executor, task_of(s.what.id, last));
}

/// It may come before its lease: the executor hears of that from its agent.
void model_job::give_task(const attempt_ref& ref, boot_id executor, std::uint32_t partition) {
  if (!alive) return;
  const auto& leases = stages.at(ref.request).leases;
  const auto at = leases.find(ref.attempt);
  if (at == leases.end() || !at->second.tasks.contains(partition)) return;
  sim.send_task(executor, ref, task_of(ref.request, partition));
}

/// Said again while the job holds the lease.
void model_job::task_refused(const attempt_ref& ref, boot_id executor, std::uint32_t partition) {
  if (stages.contains(ref.request)) {
    sim.after(500ms, [this, ref, executor, partition] { give_task(ref, executor, partition); });
  }
}

void model_job::lease_task_done(const attempt_ref& ref, std::uint32_t partition) {
  if (!alive) return;
  auto& s = stages.at(ref.request);
  const auto at = s.leases.find(ref.attempt);
  if (at == s.leases.end() || at->second.tasks.erase(partition) == 0) return;
  --s.running;
  if (!s.cancelling) use(s);
}

/// The first word of a new term ends the leases of the old ones.
void model_job::follow_term(model_stage& s, term_id term) {
  if (term <= s.term) return;
  s.term = term;
  s.recall_number = 0;
  s.keep = UINT32_MAX;
  s.want_answered = false;
  std::vector<attempt_id> old;
  for (const auto& [a, lease] : s.leases) {
    if (a.term < term) old.push_back(a);
  }
  for (const auto& a : old) drop_lease(s, a);
}

void model_job::drop_lease(model_stage& s, attempt_id attempt) {
  const auto at = s.leases.find(attempt);
  if (at == s.leases.end()) return;
  const auto lost = static_cast<std::uint32_t>(at->second.tasks.size());
  s.to_do += lost;
  s.running -= lost;
  s.leases.erase(at);
}

}  // namespace hydrogen::gang::testing
