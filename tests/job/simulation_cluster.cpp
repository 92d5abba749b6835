// Coordinator, nodes, and what goes wrong with them.
#include "simulation.hpp"

namespace hydrogen::job::test {

void simulation::start_coordinator() {
  const auto life = ++coordinator_life_;
  written_.clear();
  synced_ = 0;
  gang::admission_options options;
  options.expected_nodes = static_cast<std::uint32_t>(nodes_.size());
  coordinator_ = std::make_unique<gang::admission>(options, gang::digest(durable_), now_);
  coordinator_timer_ = never;
  say("coordinator starts, life " + std::to_string(life));
  apply(coordinator_->start(now_));
  connect_all();
}

void simulation::connect_all() {
  const auto life = coordinator_life_;
  for (std::size_t n = 0; n < nodes_.size(); ++n) {
    later(between(1ms, 200ms), [this, n, life] {
      auto& node = nodes_[n];
      if (life != coordinator_life_ || !coordinator_ || node.connected || !node.agent) return;
      node.connected = true;
      to_agent(n, node.boot, gang::reservation_event::coordinator_connected{});
    });
  }
  later(between(1ms, 300ms), [this, life] {
    if (life != coordinator_life_ || !coordinator_) return;
    driver_connected_ = true;
    begun_ = false;
    begin_run();
  });
}

void simulation::kill_coordinator() {
  if (!coordinator_) return;
  ++tally_.coordinators_killed;
  say("coordinator dies");
  coordinator_.reset();
  const auto life = ++coordinator_life_;
  for (std::size_t n = 0; n < nodes_.size(); ++n) {
    if (!std::exchange(nodes_[n].connected, false) || !nodes_[n].agent) continue;
    to_agent(n, nodes_[n].boot, gang::reservation_event::coordinator_lost{});
  }
  if (std::exchange(driver_connected_, false) && begun_) {
    for (std::uint32_t j = 0; j < jobs_.size(); ++j) to_job(j, coordinator_lost{});
  }
  begun_ = false;
  later(between(100ms, 3s), [this, life] {
    if (life == coordinator_life_) start_coordinator();
  });
}

void simulation::to_coordinator_machine(const gang::admission_event::any& e) {
  if (coordinator_) apply(coordinator_->on(e, now_));
}

void simulation::apply(gang::admission::effects effects) {
  const auto life = coordinator_life_;
  bool sync = false;
  for (auto& e : effects) {
    if (auto* m = std::get_if<gang::admission_effect::tell_agent>(&e)) {
      for (std::size_t n = 0; n < nodes_.size(); ++n) {
        if (nodes_[n].boot != m->agent || !nodes_[n].connected) continue;
        post([this, n, life, boot = m->agent, message = m->message] {
          if (life == coordinator_life_) to_agent(n, boot, gang::reservation_event::coordinator_said{message});
        });
      }
    } else if (auto* j = std::get_if<gang::admission_effect::tell_job>(&e)) {
      if (!driver_connected_) continue;
      post([this, life, message = j->message] {
        if (life == coordinator_life_) driver_heard(message);
      });
    } else if (auto* a = std::get_if<gang::admission_effect::append>(&e)) {
      written_.push_back(a->what);
    } else if (std::holds_alternative<gang::admission_effect::sync>(e)) {
      sync = true;
    } else if (auto* l = std::get_if<gang::admission_effect::log_line>(&e)) {
      say("coordinator: " + l->text);
    }
  }
  if (sync) {
    later(between(0ms, 2ms), [this, life] {
      if (life != coordinator_life_ || synced_ == written_.size()) return;
      durable_.insert(durable_.end(), written_.begin() + static_cast<std::ptrdiff_t>(synced_), written_.end());
      synced_ = written_.size();
      to_coordinator_machine(gang::admission_event::synced{synced_});
    });
  }
  const auto wake = coordinator_->next_wakeup();
  if (wake < coordinator_timer_) {
    coordinator_timer_ = wake;
    later(std::max(wake - now_, duration::zero()), [this, life, wake] {
      if (life != coordinator_life_ || coordinator_timer_ != wake) return;
      coordinator_timer_ = never;
      to_coordinator_machine(gang::admission_event::timer{});
    });
  }
}

void simulation::start_node(std::size_t n) {
  auto& node = nodes_[n];
  node.boot = {next_boot_++};
  node.timer = never;
  gang::reservation_options options;
  options.node = node.name;
  options.slots = node.slots;
  node.agent = std::make_unique<gang::reservation>(options, node.boot);
  if (!coordinator_) return;
  node.connected = true;
  to_agent(n, node.boot, gang::reservation_event::coordinator_connected{});
}

void simulation::kill_node(std::size_t n) {
  auto& node = nodes_[n];
  if (!node.agent) return;
  ++tally_.nodes_killed;
  say("node " + node.name + " dies");
  const auto boot = node.boot;
  node.agent.reset();
  node.connected = false;
  node.boot = {};
  std::vector<std::uint64_t> there;
  for (const auto& [id, e] : executors_) {
    if (e.on == n) there.push_back(id);
  }
  for (const auto id : there) kill_executor(id, "its node died");
  later(between(1ms, 50ms), [this, boot] { to_coordinator_machine(gang::admission_event::agent_lost{boot}); });
  later(between(100ms, 2s), [this, n] { start_node(n); });
}

void simulation::to_agent(std::size_t n, boot_id boot, const gang::reservation_event::any& e) {
  auto& node = nodes_[n];
  if (!node.agent || node.boot != boot) return;
  apply(n, node.agent->on(e, now_));
  if (!node.agent) return;
  const auto wake = node.agent->next_wakeup();
  if (wake >= node.timer) return;
  node.timer = wake;
  later(std::max(wake - now_, duration::zero()), [this, n, wake, boot = node.boot] {
    if (nodes_[n].boot != boot || nodes_[n].timer != wake) return;
    nodes_[n].timer = never;
    to_agent(n, boot, gang::reservation_event::timer{});
  });
}

void simulation::apply(std::size_t n, gang::reservation::effects effects) {
  auto& node = nodes_[n];
  const auto boot = node.boot;
  for (auto& e : effects) {
    if (auto* m = std::get_if<gang::reservation_effect::tell_coordinator>(&e)) {
      if (!node.connected) continue;
      // A connection that closed delivers nothing more.
      post([this, n, boot, life = coordinator_life_, message = m->message] {
        if (life == coordinator_life_ && nodes_[n].boot == boot) {
          to_coordinator_machine(gang::admission_event::agent_said{message});
        }
      });
    } else if (auto* x = std::get_if<gang::reservation_effect::tell_executor>(&e)) {
      later(200us, [this, to = x->executor, message = x->message] { executor_told(to, message); });
    } else if (auto* s = std::get_if<gang::reservation_effect::start_executor>(&e)) {
      later(between(5ms, 200ms), [this, n, boot, id = s->executor, run = s->app.run] {
        if (nodes_[n].boot != boot) return;
        executor fresh;
        fresh.boot = id;
        fresh.on = n;
        executors_.emplace(id.value, std::move(fresh));
        to_agent(n, boot, gang::reservation_event::executor_ready{run, id, endpoint_of(id)});
      });
    } else if (auto* k = std::get_if<gang::reservation_effect::end_executor>(&e)) {
      later(1ms, [this, n, boot, id = k->executor] {
        if (find_executor(id) != nullptr) return kill_executor(id.value, "ended by its agent");
        to_agent(n, boot, gang::reservation_event::executor_died{app_.run, id, "ended by its agent"});
      });
    } else if (auto* b = std::get_if<gang::reservation_effect::new_boot>(&e)) {
      node.boot = b->agent;
      node.timer = never;
      later(10ms,
            [this, n, fresh = b->agent] { to_agent(n, fresh, gang::reservation_event::coordinator_connected{}); });
    }
  }
}

void simulation::kill_executor(std::uint64_t boot, const std::string& why) {
  const auto at = executors_.find(boot);
  if (at == executors_.end()) return;
  ++tally_.executors_killed;
  say("executor " + std::to_string(boot) + " dies: " + why);
  const auto n = at->second.on;
  executors_.erase(at);
  later(between(1ms, 20ms), [this, n, boot, why, agent = nodes_[n].boot] {
    to_agent(n, agent, gang::reservation_event::executor_died{app_.run, {boot}, why});
  });
  later(between(1ms, 30ms), [this, boot] {
    for (std::uint32_t j = 0; j < jobs_.size(); ++j) to_job(j, executor_unreachable{{boot}, "connection reset"});
  });
}

void simulation::break_connection(std::uint64_t boot) {
  const auto at = executors_.find(boot);
  if (at == executors_.end()) return;
  say("connection to executor " + std::to_string(boot) + " breaks");
  ++at->second.connection;
  later(between(1ms, 30ms), [this, boot] {
    for (std::uint32_t j = 0; j < jobs_.size(); ++j) to_job(j, executor_unreachable{{boot}, "connection reset"});
  });
}

void simulation::plan_faults() {
  if (!faults()) return;
  const auto what = random_.below(20);
  const auto some = [&]() -> std::uint64_t {
    if (executors_.empty()) return 0;
    auto at = executors_.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(random_.below(executors_.size())));
    return at->first;
  };
  if (what < 9)
    kill_executor(some(), "killed");
  else if (what < 12)
    kill_node(random_.below(nodes_.size()));
  else if (what < 15)
    kill_coordinator();
  else if (what < 18)
    break_connection(some());
  later(between(20ms, 3s), [this] { plan_faults(); });
}

}  // namespace hydrogen::job::test
