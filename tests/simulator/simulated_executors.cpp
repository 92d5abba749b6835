// The simulation's executors: how they start and die, who talks to their machines, and their lanes.

#include "model_job.hpp"
#include "simulation.hpp"
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <tuple>

namespace hydrogen::gang::testing {

namespace {

struct model_gang_part final : hosted_gang {
  model_gang_part(boot_id here, const attempt_ref& ref, const std::vector<member>& all, bool in_process)
      : hosted_gang(ref, ranks_of(here, all), in_process, !in_process), members(all) {}
  static std::uint32_t ranks_of(boot_id here, const std::vector<member>& all) {
    std::uint32_t n = 0;
    for (const auto& m : all) n += m.executor == here ? static_cast<std::uint32_t>(m.ranks.size()) : 0;
    return n;
  }
  const std::vector<member> members;
};

}  // namespace

model_executor* simulation::executor(boot_id boot) {
  const auto at = executors_.find(boot);
  return at == executors_.end() || !at->second.alive ? nullptr : &at->second;
}

model_lane* simulation::lane(boot_id boot, const attempt_ref& ref) {
  auto* x = executor(boot);
  if (x == nullptr) return nullptr;
  const auto at = x->lanes.find(ref);
  return at == x->lanes.end() ? nullptr : &at->second;
}

// ---- life ----------------------------------------------------------------------------------------------------------

void simulation::begin_executor(std::size_t i, const application_ref& app, boot_id boot) {
  auto& x = executors_.try_emplace(boot, app.run).first->second;
  x.boot = boot;
  x.node = i;
  for (const auto& [b, other] : executors_) {
    if (other.alive && b != boot && other.node == i && other.run == app.run)
      broken("two executors of one run on one node");
  }
  const auto wait = !quiet && rng.chance(faults.slow_start) ? random(1s, 10s) : random(2ms, 60ms);
  const bool fails = !quiet && rng.chance(faults.executor_start_fails);
  const bool bad_library = !quiet && rng.chance(faults.library_fails);
  after(wait, [this, boot, i, fails, bad_library] {
    auto* y = executor(boot);
    if (y == nullptr) return;
    if (fails || bad_library) {
      trace(fmt::format("executor {} on {} fails to start", to_string(boot), nodes_[i].name));
      const auto run = y->run;
      executors_.erase(boot);
      tell_agent(
          i, reservation_event::executor_failed{run,
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

/// A process is killed; one in the agent's process ends by itself, or takes that with it, which is no matter here.
void simulation::end_executor(boot_id boot) {
  if (rng.chance(0.5)) return executor_dies(boot, "ended by its agent");
  tell_executor(boot, execution_event::end{});
  after(5s, [this, boot] { executor_dies(boot, "does not end"); });
}

void simulation::executor_dies(boot_id boot, const std::string& why) {
  auto* x = executor(boot);
  if (x == nullptr) return;
  trace(fmt::format("executor {} on {} dies: {}", to_string(boot), nodes_[x->node].name, why));
  x->alive = false;
  after(random(10us, 2ms), [this, boot, why] {
    const auto at = executors_.find(boot);
    if (at == executors_.end()) return;
    const auto [run, node, ready] = std::tuple(at->second.run, at->second.node, at->second.ready);
    executors_.erase(at);
    if (ready) {
      tell_agent(node, reservation_event::executor_died{run, boot, why});
    } else {
      tell_agent(node, reservation_event::executor_failed{run, boot, refusal_kind::executor, {errc::io, why, {}, {}}});
    }
  });
}

void simulation::executor_says(model_executor& x, from_executor m) {
  x.last_delivery = std::max(x.last_delivery, now + random(10us, 1ms));
  queue_.push({x.last_delivery, ++order_, [this, boot = x.boot, m = std::move(m)] {
                 auto* y = executor(boot);
                 if (y == nullptr) return;
                 tell_agent(y->node, reservation_event::executor_said{boot, m});
               }});
}

// ---- what its machine hears ----------------------------------------------------------------------------------------

void simulation::executor_gets(boot_id boot, const to_executor& message) {
  tell_executor(boot, execution_event::agent_said{message});
}

void simulation::send_gang(boot_id boot, const attempt_ref& ref, const std::vector<member>& members) {
  const auto arrive = [this, boot,
                       gang = std::make_shared<model_gang_part>(boot, ref, members, meet_in_process(ref, members))] {
    const auto* x = executor(boot);
    if (x != nullptr && x->ready) tell_executor(boot, execution_event::gang_came{gang});
  };
  if (!quiet && rng.chance(faults.repeat)) after(some_delay() * 2, arrive);
  after(some_delay(), arrive);
}

void simulation::send_task(boot_id boot, const attempt_ref& ref, const task_id& id) {
  const auto arrive = [this, boot, ref, id] { task_comes(boot, ref, id); };
  if (!quiet && rng.chance(faults.repeat)) after(some_delay() * 2, arrive);
  after(some_delay(), arrive);
}

void simulation::cancel_task(boot_id boot, const task_id& id) {
  after(some_delay(), [this, boot, id] {
    auto* x = executor(boot);
    if (x == nullptr || !x->ready) return;
    std::erase_if(x->undecided, [&](const auto& u) { return u.first.second == id; });
    tell_executor(boot, execution_event::cancel{id, "not needed"});
  });
}

void simulation::task_comes(boot_id boot, const attempt_ref& ref, const task_id& id) {
  auto* x = executor(boot);
  if (x == nullptr || !x->ready) return;
  const auto* l = lane(boot, ref);
  const bool repeated = l != nullptr && !l->closed && l->pushed.contains(id);
  if (!repeated) x->undecided.try_emplace({ref, id}, now);
  tell_executor(boot, execution_event::task_came{std::make_shared<hosted_task>(id, ref)});
}

void simulation::tell_executor(boot_id boot, execution::event e) {
  auto* x = executor(boot);
  if (x == nullptr) return;
  changed_ = true;
  execution::effects effects;
  x->machine.on(std::move(e), now, effects);
  for (std::size_t i = 0; i < effects.size(); ++i) {
    auto what = std::move(effects[i]);
    std::visit([&](auto& w) { perform(*x, w, effects); }, what);
  }
  executor_timer(*x);
}

void simulation::executor_timer(model_executor& x) {
  const auto at = x.machine.next_wakeup();
  if (at == never) return;
  auto wait = std::max(at - now, duration::zero());
  if (!quiet && rng.chance(faults.bad_timers)) wait = rng.chance(0.5) ? wait / 2 : wait + random(0ms, 300ms);
  after(wait, [this, boot = x.boot, n = ++x.timer] {
    if (const auto* y = executor(boot); y != nullptr && y->timer == n) tell_executor(boot, execution_event::timer{});
  });
}

// ---- what its machine wants ----------------------------------------------------------------------------------------

void simulation::perform(model_executor& x, execution_effect::open_lane& e, execution::effects&) {
  if (!x.known.insert(e.ref).second) broken("an attempt came back to life on its executor");
  auto& l = x.lanes[e.ref];
  l.kind = e.gang ? request_kind::gang : request_kind::parallel;
  l.slots = e.slots;
  if (!e.gang) return;
  l.members = static_cast<const model_gang_part&>(*e.gang).members;
  l.holds = e.gang->in_process;
}

void simulation::perform(model_executor& x, execution_effect::come& e, execution::effects& effects) {
  const auto ref = e.task->ref;
  const auto rank = e.task->id.partition;
  auto& l = x.lanes.at(ref);
  if (!meet_in_process(ref, l.members)) return broken("a rank with peers elsewhere comes without a thread");
  if (l.closed) return broken("a rank comes that has no lane");
  l.came.insert(rank);
  execution_effect::push as_pushed{e.task};
  perform(x, as_pushed, effects);
  auto& meeting = meetings_[ref];
  meeting.came.insert(rank);
  meeting.met.insert(rank);
  if (meeting.met.size() == size_of(l.members)) {
    x.machine.on(execution_event::rank_joined{ref, true}, now, effects);
  }
  open_if_all_came(x, ref);
}

void simulation::perform(model_executor& x, execution_effect::start_threads& e, execution::effects&) {
  x.lanes.at(e.ref).holds = false;
  run_next(x, e.ref);
}

void simulation::perform(model_executor& x, execution_effect::push& e, execution::effects&) {
  const auto& [id, ref] = std::pair(e.task->id, e.task->ref);
  x.undecided.erase({ref, id});
  const auto at = x.lanes.find(ref);
  if (at == x.lanes.end() || at->second.closed) return broken("a task runs that has no lane");
  auto& l = at->second;
  if (!l.pushed.insert(id).second) return broken("a task runs twice in one attempt");
  l.waiting.push_back(id);
  run_next(x, ref);
}

void simulation::perform(model_executor& x, execution_effect::permit& e, execution::effects&) {
  if (!gos_.contains(e.ref)) return broken("ranks were permitted to enter without a durable Go");
  meetings_[e.ref].permitted = true;
  open_if_all_came(x, e.ref);
}

void simulation::perform(model_executor& x, execution_effect::enter& e, execution::effects&) {
  auto& l = x.lanes.at(e.ref);
  if (std::exchange(l.told_to_enter, true)) return broken("ranks were entered twice");
  open_gate(x, e.ref);
}

void simulation::perform(model_executor& x, execution_effect::withdraw& e, execution::effects& effects) {
  auto& l = x.lanes.at(e.ref);
  if (std::erase(l.waiting, e.task) != 0) {
    l.pushed.erase(e.task);
    x.machine.on(execution_event::withdrawn{e.ref, e.task}, now, effects);
  } else if (l.running.erase(e.task) != 0) {
    run_next(x, e.ref);
  }
}

void simulation::perform(model_executor& x, execution_effect::close_lane& e, execution::effects&) {
  auto& l = x.lanes.at(e.ref);
  if (std::exchange(l.closed, true)) return broken("a lane was closed twice");
  l.waiting.clear();
  std::erase_if(x.undecided, [&](const auto& u) { return u.first.first == e.ref; });
  if (!quiet && rng.chance(faults.stop_hangs)) return;
  const auto slow = !quiet && rng.chance(faults.slow);
  after(slow ? random(1ms, 3s) : random(10us, 100ms), [this, boot = x.boot, ref = e.ref] {
    auto* y = executor(boot);
    if (y == nullptr || y->lanes.erase(ref) == 0) return;
    tell_executor(boot, execution_event::lane_idle{ref});
  });
}

void simulation::perform(model_executor& x, execution_effect::refuse& e, execution::effects&) {
  const auto& [id, ref] = std::pair(e.task->id, e.task->ref);
  x.undecided.erase({ref, id});
  after(some_delay(), [this, ref, boot = x.boot, p = id.partition] {
    if (auto* job = job_of(ref.request.run)) job->task_refused(ref, boot, p);
  });
}

void simulation::perform(model_executor& x, execution_effect::report& e, execution::effects&) {
  const auto& ref = std::visit([](const auto& m) -> const attempt_ref& { return m.ref; }, e.message);
  if (!std::holds_alternative<ranks_joined>(e.message) && x.lanes.contains(ref)) {
    broken("an executor says that nothing is left of an attempt that has a lane");
  }
  executor_says(x, std::move(e.message));
}

void simulation::perform(model_executor& x, execution_effect::ended&, execution::effects&) {
  if (!x.lanes.empty()) broken("an executor ends that has a lane");
  executor_dies(x.boot, "ended by itself, as its agent wants");
}

}  // namespace hydrogen::gang::testing
