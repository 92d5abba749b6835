// The simulation's nodes: their lives, their connections, their timers, and what their agents say.

#include "model_job.hpp"
#include "simulation.hpp"
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>

namespace hydrogen::gang::testing {

void simulation::start_node(std::size_t i) {
  auto& n = nodes_[i];
  ++n.life;
  n.ended.clear();
  n.since.clear();
  n.seen = {};
  auto options = reservation_options_;
  options.node = n.name;
  options.slots = n.slots;
  options.has = n.has;
  options.labels = n.labels;
  n.agent.emplace(options, boot_id{rng() | 1});
  n.boot = n.agent->boot();
  trace(fmt::format("node {} starts as boot {}", n.name, to_string(n.agent->boot())));
  connect_node(i);
}

void simulation::connect_node(std::size_t i) {
  after(random(1ms, 800ms), [this, i, life = nodes_[i].life, coordinator = coordinator_life_] {
    auto& n = nodes_[i];
    if (n.life != life || !n.agent || n.cut || coordinator_life_ != coordinator || !coordinator_) return;
    if (n.connected && n.connected_to == coordinator) return;
    if (n.connected) tell_agent(i, reservation_event::coordinator_lost{});
    n.connected = true;
    n.connected_to = coordinator;
    trace(fmt::format("node {} connects", n.name));
    tell_agent(i, reservation_event::coordinator_connected{});
  });
}

void simulation::crash_node(std::size_t i) {
  auto& n = nodes_[i];
  if (!n.agent) return;
  trace(fmt::format("node {} crashes", n.name));
  const auto boot = n.agent->boot();
  ++n.life;
  n.agent.reset();
  n.connected = n.paused = false;
  n.unheard.clear();
  std::erase_if(executors_, [i](const auto& x) { return x.second.node == i; });
  lose_agent(boot);
}

/// The coordinator's process of this moment loses the connection; a later one never had it.
void simulation::lose_agent(boot_id boot) {
  after(random(1ms, 500ms), [this, boot, life = coordinator_life_] {
    if (coordinator_life_ == life) tell_coordinator(admission_event::agent_lost{boot});
  });
}

void simulation::cut_node(std::size_t i, duration how_long) {
  auto& n = nodes_[i];
  if (n.cut || !n.agent) return;
  trace(fmt::format("node {} is cut off", n.name));
  n.cut = true;
  after(random(0ms, 3s), [this, i, life = n.life] {
    auto& m = nodes_[i];
    if (m.life == life && m.agent && m.cut && m.connected) {
      m.connected = false;
      tell_agent(i, reservation_event::coordinator_lost{});
    }
  });
  after(random(0ms, 3s), [this, boot = n.agent->boot(), life = coordinator_life_, i] {
    if (coordinator_life_ == life && nodes_[i].cut) tell_coordinator(admission_event::agent_lost{boot});
  });
  after(how_long, [this, i] {
    auto& m = nodes_[i];
    m.cut = false;
    if (!m.agent) return;
    if (m.connected) {
      m.connected = false;
      tell_agent(i, reservation_event::coordinator_lost{});
    }
    connect_node(i);
  });
}

/// A process that gets no time, or is stopped by hand: its executors go on.
void simulation::pause_node(std::size_t i, duration how_long) {
  auto& n = nodes_[i];
  if (n.paused || !n.agent) return;
  trace(fmt::format("node {} is paused", n.name));
  n.paused = true;
  after(random(2s, 4s), [this, boot = n.agent->boot(), node = n.life, life = coordinator_life_, i] {
    if (nodes_[i].paused && nodes_[i].life == node && coordinator_life_ == life) {
      tell_coordinator(admission_event::agent_lost{boot});
      nodes_[i].connected = false;
      tell_agent(i, reservation_event::coordinator_lost{});
      after(random(1ms, 800ms), [this, i] { connect_node(i); });
    }
  });
  after(how_long, [this, i, life = n.life] {
    auto& m = nodes_[i];
    if (m.life != life || !m.paused) return;
    trace(fmt::format("node {} goes on", m.name));
    m.paused = false;
    for (const auto& e : std::exchange(m.unheard, {})) {
      if (m.life == life) tell_agent(i, e);
    }
  });
}

void simulation::tell_agent(std::size_t i, const reservation::event& e) {
  auto& n = nodes_[i];
  if (n.paused) {
    n.unheard.push_back(e);
    return;
  }
  changed_ = true;
  count(n, e);
  if (std::holds_alternative<reservation_event::timer>(e)) {
    const auto before = n.agent->entries();
    const auto effects = n.agent->on(e, now);
    count_deadlines(n, before);
    return carry_out(i, effects);
  }
  carry_out(i, n.agent->on(e, now));
}

void simulation::agent_timer(std::size_t i) {
  auto& n = nodes_[i];
  const auto at = n.agent->next_wakeup();
  if (at == never) return;
  auto wait = std::max(at - now, duration::zero());
  if (!quiet && rng.chance(faults.bad_timers)) wait = rng.chance(0.5) ? wait / 2 : wait + random(0ms, 300ms);
  after(wait, [this, i, life = n.life, k = ++n.timer] {
    if (nodes_[i].life == life && nodes_[i].agent && nodes_[i].timer == k) tell_agent(i, reservation_event::timer{});
  });
}

void simulation::carry_out(std::size_t i, const reservation::effects& effects) {
  auto& n = nodes_[i];
  for (const auto& e : effects) {
    if (const auto* c = std::get_if<reservation_effect::tell_coordinator>(&e)) {
      if (const auto* news = std::get_if<entry_report_news>(&c->message)) {
        if (news->news == entry_news::gone || news->news == entry_news::absent || news->news == entry_news::refused) {
          n.ended.insert(news->ref);
        }
      }
      if (!n.connected || n.cut) continue;
      deliver([this, i, boot = n.agent->boot(), m = c->message] {
        if (nodes_[i].cut) return;
        tell_coordinator(admission_event::agent_said{m});
        // The end of a connection comes behind everything that was said on it.
        if (!nodes_[i].agent || nodes_[i].agent->boot() != boot) lose_agent(boot);
      });
    } else if (const auto* x = std::get_if<reservation_effect::tell_executor>(&e)) {
      auto* to = executor(x->executor);
      if (to == nullptr) continue;
      // In order, and never lost while both live.
      to->last_delivery = std::max(to->last_delivery, now + random(10us, 1ms));
      queue_.push(
          {to->last_delivery, ++order_, [this, boot = x->executor, m = x->message] { executor_gets(boot, m); }});
    } else if (const auto* s = std::get_if<reservation_effect::start_executor>(&e)) {
      begin_executor(i, s->app, s->executor);
    } else if (const auto* d = std::get_if<reservation_effect::end_executor>(&e)) {
      after(random(1ms, 200ms), [this, boot = d->executor] { end_executor(boot); });
    } else if (std::holds_alternative<reservation_effect::new_boot>(e)) {
      trace(fmt::format("node {} goes on as boot {}", n.name, to_string(n.agent->boot())));
      n.ended.clear();
      n.since.clear();
      lose_agent(std::exchange(n.boot, n.agent->boot()));  // its connection belonged to the older boot
      if (n.connected) {
        n.connected = false;
        connect_node(i);
      }
    } else if (const auto* l = std::get_if<reservation_effect::log_line>(&e)) {
      trace(fmt::format("agent {}: {}", n.name, l->text));
    }
  }
  agent_timer(i);
}

}  // namespace hydrogen::gang::testing
