// What goes wrong at a moment of the simulation.

#include "model_job.hpp"
#include "simulation.hpp"
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <utility>

namespace hydrogen::gang::testing {

bool simulation::only_restarts() const {
  using enum trouble;
  const auto harmless = troubles().with(coordinator_crash).with(old_coordinator).with(timers);
  const auto kinds = options_.allowed.list();
  return std::all_of(kinds.begin(), kinds.end(), [&](trouble t) { return harmless.has(t); });
}

void simulation::crash_driver(std::size_t i) {
  auto& job = *jobs_[i];
  if (!job.alive) return;
  trace("driver " + job.app.name + " crashes");
  job.alive = false;
  job.connected = false;
  lose_driver(job.app.run);
}

void simulation::lose_driver(run_id run) {
  after(random(1ms, 1s), [this, run, life = coordinator_life_] {
    if (coordinator_life_ == life) tell_coordinator(admission_event::driver_lost{run});
  });
}

/// Whoever drains a node asks once; whoever wants it back, until that is confirmed.
void simulation::drain_node(std::size_t i, bool on) {
  auto& n = nodes_[i];
  if (!on && n.drain == drain_state::none) return;
  trace(n.name + (on ? " is to be drained" : " is wanted back"));
  n.drain = on ? drain_state::asked : drain_state::wanted_back;
  tell_coordinator(admission_event::drain{2 * i + (on ? 1 : 0), n.name, on});
  if (!on) after(700ms, [this, i] { drain_node(i, false); });
}

void simulation::drain_answered(const admission_effect::answer_drain& answer) {
  auto& n = nodes_[answer.ticket / 2];
  const bool on = answer.ticket % 2 == 1;
  if (!on && n.drain == drain_state::wanted_back) n.drain = drain_state::none;
  if (on && n.drain == drain_state::asked && answer.problem.code == errc::none) n.drain = drain_state::drained;
}

/// One at random; often two at the same moment.
void simulation::fault() {
  using enum trouble;
  // Executors die most often, and what a gang's job takes back is rare by itself.
  static constexpr std::array kinds{
      coordinator_crash, node_crash, cut,  pause, executor_death, executor_death, executor_death,
      driver_crash,      cancel,     park, park,  driver_away,    drain};
  const auto kind = kinds[rng.below(kinds.size())];
  const auto another = rng.chance(0.3);
  if (may(kind)) happens(kind);
  if (another) fault();
}

void simulation::happens(trouble kind) {
  const auto node = rng.below(nodes_.size());
  auto& job = *jobs_[rng.below(jobs_.size())];
  switch (kind) {
    case trouble::coordinator_crash:
      if (!coordinator_ || (only_restarts() && now < crashed_ + 12s)) return;  // longer than what is committed may wait
      crash_coordinator();
      return after(random(1ms, rng.chance(0.2) && !only_restarts() ? 20s : 2s), [this] {
        if (!coordinator_ && !gone_for_good_) start_coordinator();
      });
    case trouble::node_crash:
      crash_node(node);
      return after(random(1ms, rng.chance(0.3) ? 15s : 1s), [this, node] {
        if (!nodes_[node].agent) start_node(node);
      });
    case trouble::cut:
      return cut_node(node, random(100ms, 12s));
    case trouble::pause:
      return pause_node(node, random(10ms, rng.chance(0.3) ? 8s : 1s));
    case trouble::executor_death: {
      std::vector<boot_id> alive;
      for (const auto& [boot, x] : executors_) {
        if (x.alive) alive.push_back(boot);
      }
      if (!alive.empty()) executor_dies(alive[rng.below(alive.size())], "killed");
      return;
    }
    case trouble::driver_crash:
      if (rng.chance(0.3)) crash_driver(rng.below(jobs_.size()));
      return;
    case trouble::cancel:
      if (rng.chance(0.5)) job.cancel_something();
      return;
    case trouble::park:
      return job.park_something();
    case trouble::driver_away:
      if (!job.alive || !job.connected || !coordinator_) return;
      job.connected = false;
      job.was_away = true;
      tell_coordinator(admission_event::driver_lost{job.app.run});
      return after(random(1ms, 700ms), [this, j = &job, life = coordinator_life_] {
        if (coordinator_life_ == life && coordinator_) j->connect();
      });
    case trouble::drain:
      if (nodes_[node].drain != drain_state::none) return;
      drain_node(node, true);
      return after(random(10ms, 10s), [this, node] { drain_node(node, false); });
    default:
      return;  // these are no moments
  }
}

}  // namespace hydrogen::gang::testing
