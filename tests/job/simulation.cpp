// Time, the network, and one whole run.
#include "simulation.hpp"

#include <algorithm>
#include <cstdio>

namespace hydrogen::job::test {

std::string endpoint_of(boot_id executor) {
  return to_string(executor);
}

simulation::simulation(std::uint64_t seed, tally& t)
    : seed_(seed), tally_(t), random_(seed), killed_before_(t.executors_killed) {}

void simulation::later(duration d, std::function<void()> what) {
  queue_.push({now_ + d, order_++, std::move(what)});
}

duration simulation::between(duration a, duration b) {
  return a + duration(static_cast<std::int64_t>(random_.unit() * static_cast<double>((b - a).count())));
}

void simulation::post(std::function<void()> what) {
  if (faults() && random_.chance(drop_)) return;
  if (faults() && random_.chance(repeat_)) later(between(0ms, delay_ * 4), what);
  later(between(0ms, faults() && random_.chance(0.02) ? delay_ * 30 : delay_), std::move(what));
}

void simulation::fail(const std::string& what) const {
  throw broken("seed " + std::to_string(seed_) + " at " + std::to_string((now_ - time_point{}) / 1ms) + " ms: " + what);
}

void simulation::say(const std::string& line) const {
  if (trace) std::fprintf(stderr, "%8lld ms  %s\n", static_cast<long long>((now_ - time_point{}) / 1ms), line.c_str());
}

void simulation::run() {
  const auto calm = random_.chance(0.15);  // nothing goes wrong: also the case in which nothing may be left behind
  faults_until_ = now_ + (calm ? 0s : 2s + between(0s, 10s));
  drop_ = random_.chance(0.4) ? 0 : random_.unit() * 0.1;
  repeat_ = random_.chance(0.4) ? 0 : random_.unit() * 0.1;
  delay_ = between(100us, 20ms);

  driver_ = {{999999}, "driver"};
  app_.run = {seed_, 17};
  app_.name = "app";
  app_.driver = driver_.boot;
  nodes_.resize(1 + random_.below(4));
  for (std::size_t n = 0; n < nodes_.size(); ++n) {
    nodes_[n].name = std::string(1, static_cast<char>('a' + n));
    nodes_[n].slots = static_cast<std::uint32_t>(1 + random_.below(3));
  }
  jobs_.resize(1 + random_.below(4));
  for (std::uint32_t j = 0; j < jobs_.size(); ++j) {
    auto& job = jobs_[j];
    job.graph = random_graph(job);
    job.consumed.resize(job.graph.stages.back().partitions);
    if (random_.chance(0.08)) {
      job.fatal = true;
      job.fatal_stage = static_cast<std::uint32_t>(random_.below(job.graph.stages.size()));
      job.fatal_partition = static_cast<std::uint32_t>(random_.below(job.graph.stages[job.fatal_stage].partitions));
      job.graph.stages[job.fatal_stage].barrier.retries = 2;
    }
    if (job.fatal && job.graph.stages[job.fatal_stage].kind == plan::stage_kind::barrier) {
      // Its few retries must not be burnt by anything else.
      job.fatal = false;
      job.graph.stages[job.fatal_stage].barrier.retries = 1000;
      if (calm) {
        job.fatal = true;
        job.graph.stages[job.fatal_stage].barrier.retries = 2;
      }
    }
    job.enough = random_.chance(0.08);
    if (random_.chance(0.08)) {
      job.cancelled = true;
      later(between(0s, 5s), [this, j] { to_job(j, job::cancel{"interrupted"}); });
    }
    later(random_.chance(0.7) ? between(0ms, 1500ms) : between(0s, 8s), [this, j] { start_job(j); });
  }
  start_coordinator();
  for (std::size_t n = 0; n < nodes_.size(); ++n) start_node(n);
  later(between(100ms, 2s), [this] { plan_faults(); });

  const auto limit = faults_until_ + 300s;
  const auto all_over = [&] {
    return std::all_of(jobs_.begin(), jobs_.end(), [](const auto& j) { return j.m && j.m->over(); });
  };
  std::optional<time_point> stop_at;
  while (!queue_.empty()) {
    const auto e = queue_.top();
    queue_.pop();
    now_ = e.at;
    if (now_ > limit) break;
    if (stop_at && now_ > *stop_at) break;
    e.what();
    if (!stop_at && now_ > faults_until_ && all_over()) stop_at = now_ + 6s;  // let agents settle
  }
  if (!all_over()) {
    std::string where;
    for (const auto& job : jobs_) {
      if (!job.m) continue;
      where += job.m->ended() ? " [ended]" : " [runs]";
      for (const auto& p : job.m->progress()) {
        where += " " + p.label + " " + std::to_string(p.done) + "/" + std::to_string(p.partitions) + " running " +
                 std::to_string(p.running) + " " + p.waiting_for + ";";
      }
    }
    fail("a job does not end:" + where);
  }
  check_end();
}

void simulation::check_end() {
  const auto status = coordinator_->status();
  if (!status.requests.empty()) fail("a request is left open: " + to_string(status.requests.front().id));
  for (const auto& node : nodes_) {
    if (node.agent->free() != node.slots) fail("slots of " + node.name + " are not free");
  }
  // Blocks: with nothing lost on the way, what is left is what was kept.
  std::set<data::block_id> kept;
  for (std::uint32_t j = 0; j < jobs_.size(); ++j) {
    for (std::uint32_t s = 0; s < jobs_[j].graph.stages.size(); ++s) {
      if (jobs_[j].graph.stages[s].keep_as == 0) continue;
      for (const auto& [id, value] : driver_blocks_) {
        if (id.job == j && id.stage == s) kept.insert(id);
      }
    }
  }
  for (const auto& [id, value] : driver_blocks_) {
    if (!kept.contains(id)) fail("a copy is left in the driver: " + to_string(id));
  }
  if (faults_until_ > time_point{1s}) return;
  for (const auto& [boot, e] : executors_) {
    for (const auto& [id, value] : e.blocks) fail("a block is left in an executor: " + to_string(id));
  }
}

}  // namespace hydrogen::job::test
