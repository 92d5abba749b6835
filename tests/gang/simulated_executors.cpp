// The simulation's executors: they keep attempts, join ranks when tasks and peers are there, run and stop them.

#include "model_job.hpp"
#include "simulation.hpp"
#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace hydrogen::gang::testing {

model_executor* simulation::executor(boot_id boot) {
  const auto at = executors_.find(boot);
  return at == executors_.end() || !at->second.alive ? nullptr : &at->second;
}

void simulation::begin_executor(std::size_t i, const application_ref& app, boot_id boot) {
  auto& x = executors_[boot];
  x.boot = boot;
  x.run = app.run;
  x.node = i;
  x.life = nodes_[i].life;
  for (const auto& [b, other] : executors_) {
    if (other.alive && b != boot && other.node == i && other.run == app.run)
      broken("two executors of one run on one node");
  }
  const auto wait = !quiet && rng.chance(faults.slow_start) ? random(1s, 10s) : random(2ms, 60ms);
  const bool fails = !quiet && rng.chance(faults.executor_start_fails);
  const bool bad_library = !quiet && rng.chance(faults.library_fails);
  after(wait, [this, boot, i, fails, bad_library] {
    auto* y = executor(boot);
    if (y == nullptr || nodes_[i].life != y->life) return;
    if (fails || bad_library) {
      y->alive = false;
      trace(fmt::format("executor {} on {} fails to start", to_string(boot), nodes_[i].name));
      tell_agent(
          i, reservation_event::executor_failed{y->run,
                                                boot,
                                                bad_library ? refusal_kind::application : refusal_kind::executor,
                                                {errc::not_found, bad_library ? "no entry" : "cannot start", {}, {}}});
      return;
    }
    y->ready = true;
    loaded_.insert(boot);
    tell_agent(i, reservation_event::executor_ready{y->run, boot, "somewhere:1"});
  });
}

void simulation::end_executor(boot_id boot, const std::string& why) {
  auto* x = executor(boot);
  if (x == nullptr) return;
  executor_dies(boot, why);
}

void simulation::executor_dies(boot_id boot, const std::string& why) {
  auto* x = executor(boot);
  if (x == nullptr) return;
  trace(fmt::format("executor {} on {} dies: {}", to_string(boot), nodes_[x->node].name, why));
  x->alive = false;
  after(random(10us, 2ms), [this, boot, why] {
    auto& y = executors_.at(boot);
    if (nodes_[y.node].life != y.life || !nodes_[y.node].agent) return;
    if (y.ready) {
      tell_agent(y.node, reservation_event::executor_died{y.run, boot, why});
    } else {
      tell_agent(y.node,
                 reservation_event::executor_failed{y.run, boot, refusal_kind::executor, {errc::io, why, {}, {}}});
    }
  });
}

void simulation::executor_says(model_executor& x, from_executor m) {
  x.last_delivery = std::max(x.last_delivery, now + random(10us, 1ms));
  queue_.push({x.last_delivery, ++order_, [this, boot = x.boot, m = std::move(m)] {
                 auto* y = executor(boot);
                 if (y == nullptr || nodes_[y->node].life != y->life) return;
                 tell_agent(y->node, reservation_event::executor_said{boot, m});
               }});
}

void simulation::executor_gets(boot_id boot, const to_executor& message) {
  auto* x = executor(boot);
  if (x == nullptr) return;
  if (const auto* m = std::get_if<accept_attempt>(&message)) {
    x->attempts[m->ref].what = *m;
  } else if (const auto* m = std::get_if<start_joining>(&message)) {
    auto& a = x->attempts.at(m->ref);
    a.joining = true;
    a.members = m->members;
    try_join(m->ref);
  } else if (const auto* m = std::get_if<enter_ranks>(&message)) {
    const auto at = x->attempts.find(m->ref);
    if (at == x->attempts.end() || at->second.stopping) return;
    if (!meet_in_one_place(m->ref)) return enter(*x, at->second);
    // One gate for all that wait at it.
    for (auto& [other, y] : executors_) {
      if (!y.alive) continue;
      const auto there = y.attempts.find(m->ref);
      if (there != y.attempts.end() && there->second.joined && !there->second.stopping && !there->second.entered) {
        enter(y, there->second);
      }
    }
  } else if (const auto* m = std::get_if<stop_attempt>(&message)) {
    const auto at = x->attempts.find(m->ref);
    if (at == x->attempts.end() && x->done.contains(m->ref)) return executor_says(*x, attempt_stopped{m->ref});
    if (at == x->attempts.end()) return broken("an executor was told to stop what it does not know");
    at->second.stopping = true;
    if (!quiet && rng.chance(faults.stop_hangs)) return;
    after(random(10us, 100ms), [this, boot, ref = m->ref] {
      auto* y = executor(boot);
      if (y == nullptr || y->attempts.erase(ref) == 0) return;
      executor_says(*y, attempt_stopped{ref});
    });
  }
}

void simulation::job_to_executor(boot_id boot, std::function<void(model_executor&)> what) {
  after(some_delay(), [this, boot, what = std::move(what)] {
    if (auto* x = executor(boot); x != nullptr && x->ready) what(*x);
  });
}

/// Ranks join when their tasks are there and every peer of the attempt can be shaken hands with.
void simulation::try_join(const attempt_ref& ref) {
  std::vector<member> members;
  for (auto& [boot, x] : executors_) {
    if (!x.alive) continue;
    const auto at = x.attempts.find(ref);
    if (at != x.attempts.end() && at->second.joining) {
      members = at->second.members;
      break;
    }
  }
  for (const auto& m : members) {
    auto* x = executor(m.executor);
    if (x == nullptr) return;
    const auto at = x->attempts.find(ref);
    if (at == x->attempts.end() || !at->second.joining || at->second.stopping) return;
  }
  for (const auto& m : members) {
    auto* x = executor(m.executor);
    auto& a = x->attempts.at(ref);
    if (a.joined || a.tasks.size() < a.what.ranks.size()) continue;
    a.joined = true;
    joined_.insert({ref, m.executor});
    const auto complete = std::all_of(members.begin(), members.end(), [&](const auto& other) {
      return joined_.contains({ref, other.executor});
    });
    if (meet_in_one_place(ref)) {
      // The last one tells for all; one that waits long tells for itself.
      if (complete || rng.chance(0.1)) executor_says(*x, ranks_joined{ref, complete});
    } else {
      executor_says(*x, ranks_joined{ref});
    }
  }
}

/// Half of the gangs: their ranks meet in memory that they share.
bool simulation::meet_in_one_place(const attempt_ref& ref) {
  return (ref.attempt.counter + ref.request.stage) % 2 == 0;
}

void simulation::enter(model_executor& x, executor_attempt& a) {
  const auto& ref = a.what.ref;
  if (a.entered) return broken("ranks were entered twice");
  a.entered = true;
  const auto go = gos_.find(ref);
  if (go == gos_.end()) return broken("a rank was entered without a durable Go");
  std::uint32_t size = 0;
  for (const auto& m : go->second.members) {
    size += static_cast<std::uint32_t>(m.ranks.size());
    if (!joined_.contains({ref, m.executor})) broken("a rank was entered before every member had joined");
  }
  for (const auto rank : a.what.ranks) {
    if (rank >= size) broken("a rank beyond the size of the gang");
    if (!entered[ref].insert(rank).second) broken("one rank was entered in two places");
    auto& newest = newest_entered[ref.request];
    newest = std::max(newest, ref.attempt);
    const bool good = quiet || !rng.chance(faults.rank_fails);
    after(random(1ms, 2s), [this, boot = x.boot, ref, rank, good] {
      auto* y = executor(boot);
      if (y == nullptr) return;
      const auto at = y->attempts.find(ref);
      if (at == y->attempts.end() || at->second.stopping) return;
      for (auto& job : jobs_) {
        if (job->app.run == ref.request.run) {
          after(some_delay(), [job = job.get(), ref, rank, boot, good] { job->rank_returned(ref, rank, boot, good); });
        }
      }
      if (!good) return;
      at->second.returned.insert(rank);
      if (at->second.returned.size() < at->second.what.ranks.size()) return;
      y->attempts.erase(at);
      y->done.insert(ref);
      executor_says(*y, ranks_returned{ref});
    });
  }
}

}  // namespace hydrogen::gang::testing
