#include "simulation.hpp"

#include "model_job.hpp"
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace hydrogen::gang::testing {

simulation::simulation(const simulation_options& options, std::FILE* trace)
    : rng(options.seed), options_(options), trace_(trace) {
  reservation_options_.start_timeout = 6s;
  reservation_options_.contact_running = 60s;
  reservation_options_.join_timeout = 8s;
  admission_options_.queue.gate_deadline = 20s;
  admission_options_.contact_grace = 1s;
  const auto gentle = rng.chance(0.2);  // some seeds have few faults, so that what is rare otherwise happens
  const auto rate = [&](trouble t, double gentle_rate, double usual) {
    return may(t) ? (gentle ? gentle_rate : usual) : 0.0;
  };
  faults.drop = rate(trouble::drop, 0.01, rng.unit() * 0.2);
  faults.repeat = rate(trouble::repeat, 0.01, rng.unit() * 0.2);
  faults.slow = rate(trouble::slow, 0.02, rng.unit() * 0.3);
  faults.bad_timers = rate(trouble::timers, 0.02, 0.1);
  faults.full_disk = rate(trouble::full_disk, 0.002, 0.01);
  faults.executor_start_fails = rate(trouble::start_fails, 0, 0.1);
  faults.library_fails = rate(trouble::bad_library, 0, 0.02);
  faults.slow_start = rate(trouble::slow_start, 0, 0.1);
  faults.rank_fails = rate(trouble::rank_fails, 0.01, 0.08);
  faults.stop_hangs = rate(trouble::stop_hangs, 0.01, 0.1);
  make_nodes();
  make_jobs();
}

simulation::~simulation() = default;

// ---- time and network ----------------------------------------------------------------------------------------------

duration simulation::random(duration least, duration most) {
  return least + duration(static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>((most - least).count()) + 1)));
}

duration simulation::some_delay() {
  if (!quiet && rng.chance(faults.slow)) return random(1ms, 3s);
  return random(20us, 2ms);
}

void simulation::after(duration d, std::function<void()> what) {
  queue_.push({now + d, ++order_, std::move(what)});
}

void simulation::deliver(std::function<void()> what) {
  if (!quiet && rng.chance(faults.drop)) return;
  if (!quiet && rng.chance(faults.repeat)) after(some_delay() * 2, what);
  after(some_delay(), std::move(what));
}

void simulation::broken(const std::string& what) {
  if (broken_.empty()) broken_ = what;
  trace("BROKEN: " + what);
}

void simulation::trace(const std::string& text) {
  if (trace_ != nullptr)
    std::fprintf(trace_, "%10.3f  %s\n", static_cast<double>(now.time_since_epoch().count()) / 1e6, text.c_str());
}

void simulation::step_until(time_point end, const std::function<bool()>& done) {
  while (!queue_.empty() && queue_.top().at <= end && broken_.empty()) {
    auto next = std::move(const_cast<queued&>(queue_.top()));
    queue_.pop();
    same_instant_ = next.at == now ? same_instant_ + 1 : 0;
    if (same_instant_ > 10'000) return broken("time stands still: a timer is asked for again and again");
    now = next.at;
    next.what();
    check();
    if (done && done()) return;
  }
  if (broken_.empty()) now = end;
}

// ---- the coordinator -----------------------------------------------------------------------------------------------

void simulation::start_coordinator() {
  trace("coordinator starts");
  ++coordinator_life_;
  journal_ = open_memory_journal(disk_);
  coordinator_ = std::make_unique<admission>(admission_options_, journal_->known(), now);
  carry_out(coordinator_->start(now));
  for (std::size_t i = 0; i < nodes_.size(); ++i) connect_node(i);
  for (auto& job : jobs_) {
    after(random(1ms, 800ms), [this, j = job.get(), life = coordinator_life_] {
      if (coordinator_life_ == life && coordinator_) j->connect();
    });
  }
}

void simulation::crash_coordinator() {
  if (!coordinator_) return;
  trace("coordinator crashes");
  crashed_ = now;
  ++coordinator_life_;
  if (may(trouble::old_coordinator) && rng.chance(0.3)) {
    old_coordinator_ = std::move(coordinator_);
    after(random(1ms, 3s), [this] { old_coordinator_speaks(); });
    after(random(3s, 12s), [this] { old_coordinator_.reset(); });
  }
  coordinator_.reset();
  journal_.reset();
  appended_.clear();
  sync_planned_ = false;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    after(random(1ms, 1s), [this, i, life = coordinator_life_, node = nodes_[i].life] {
      if (coordinator_life_ == life && nodes_[i].life == node && nodes_[i].agent && nodes_[i].connected) {
        nodes_[i].connected = false;
        tell_agent(i, reservation_event::coordinator_lost{});
      }
    });
  }
  for (auto& job : jobs_) job->connected = false;
}

void simulation::tell_coordinator(const admission::event& e) {
  if (!coordinator_) return;
  changed_ = true;
  if (trace_ != nullptr) {
    if (const auto* a = std::get_if<admission_event::agent_said>(&e)) {
      if (const auto* n = std::get_if<entry_report_news>(&a->message)) {
        trace(fmt::format("  -> coordinator: {} {} news {} refusal {} of {}", to_string(n->ref.request),
                          to_string(n->ref.attempt), static_cast<int>(n->news), static_cast<int>(n->refusal),
                          to_string(n->agent)));
      }
    }
  }
  count(e);
  if (std::holds_alternative<admission_event::timer>(e)) {
    count_deadlines([&] { carry_out(coordinator_->on(e, now)); });
  } else {
    carry_out(coordinator_->on(e, now));
  }
}

/// One that hangs, was taken for dead, and goes on: nobody answers it.
void simulation::old_coordinator_speaks() {
  if (!old_coordinator_) return;
  changed_ = true;
  for (const auto& e : old_coordinator_->on(admission_event::timer{}, now)) {
    if (const auto* a = std::get_if<admission_effect::tell_agent>(&e)) deliver_to_agent(*a);
  }
  after(random(1ms, 800ms), [this] { old_coordinator_speaks(); });
}

void simulation::coordinator_timer() {
  const auto at = coordinator_->next_wakeup();
  if (at == never) return;
  // Early or late timers must do no harm.
  auto wait = std::max(at - now, duration::zero());
  if (!quiet && rng.chance(faults.bad_timers)) wait = rng.chance(0.5) ? wait / 2 : wait + random(0ms, 300ms);
  after(wait, [this, life = coordinator_life_, n = ++coordinator_timer_] {
    if (coordinator_life_ == life && coordinator_timer_ == n) tell_coordinator(admission_event::timer{});
  });
}

void simulation::sync_soon() {
  if (sync_planned_) return;
  sync_planned_ = true;
  after(random(50us, quiet ? 200us : 20ms), [this, life = coordinator_life_] {
    if (coordinator_life_ != life) return;
    sync_planned_ = false;
    const auto n = journal_->sync();
    for (const auto& r : std::exchange(appended_, {})) {
      on_durable(r);
      count(r);
      // What is durable and said to nobody yet is where a crash matters most.
      if (!quiet && may(trouble::coordinator_crash) && rng.chance(0.01)) {
        after(random(0us, 3ms), [this] { happens(trouble::coordinator_crash); });
      }
    }
    admission_event::synced news{*n};
    disk_full_ = !quiet && rng.chance(disk_full_ ? 0.8 : faults.full_disk);
    if (disk_full_) news.shortage = {errc::refused, "the disk is full", "journal", {}};
    tell_coordinator(std::move(news));
  });
}

void simulation::on_durable(const record& r) {
  if (const auto* c = std::get_if<closed_record>(&r.body)) closed_.insert(c->ref);
  const auto* go = std::get_if<go_record>(&r.body);
  if (go == nullptr) return;
  gos_[go->ref] = *go;
  for (const auto& m : go->members) {
    if (!loaded_.contains(m.executor)) broken("a Go names an executor that had not loaded the library");
  }
  for (const auto& job : jobs_) {
    const auto g = job->gangs.find(go->ref.request);
    if (g != job->gangs.end() && g->second.fence < go->ref.attempt)
      broken("a Go was written before its fence was raised");
  }
}

void simulation::deliver_to_agent(const admission_effect::tell_agent& a) {
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].cut || !nodes_[i].agent || nodes_[i].agent->boot() != a.agent) continue;
    // To the address: an agent that was started again there gets what was meant for the old one.
    deliver([this, i, m = a.message] {
      if (nodes_[i].agent && !nodes_[i].cut) tell_agent(i, reservation_event::coordinator_said{m});
    });
  }
}

void simulation::carry_out(const admission::effects& effects) {
  for (const auto& e : effects) {
    if (const auto* a = std::get_if<admission_effect::tell_agent>(&e)) {
      if (std::holds_alternative<reserve>(a->message)) {
        for (const auto& n : nodes_) {
          if (n.drain == drain_state::drained && n.agent && n.agent->boot() == a->agent) {
            broken("something begins on a node that is drained");
          }
        }
      }
      deliver_to_agent(*a);
    } else if (const auto* d = std::get_if<admission_effect::answer_drain>(&e)) {
      drain_answered(*d);
    } else if (const auto* j = std::get_if<admission_effect::tell_job>(&e)) {
      if (const auto* m = std::get_if<ended>(&j->message); m != nullptr && m->cause == end_cause::cancelled) {
        check_cancelled(m->request);
      }
      for (auto& job : jobs_) {
        if (job->app.run != j->run) continue;
        // What an older connection brings is dropped by the driver's actor.
        deliver([this, job = job.get(), m = j->message, life = coordinator_life_, over = job->connection] {
          if (job->alive && job->connected && job->connection == over && coordinator_life_ == life) job->said(m);
        });
      }
    } else if (const auto* r = std::get_if<admission_effect::append>(&e)) {
      journal_->append(r->what);
      appended_.push_back(r->what);
    } else if (std::holds_alternative<admission_effect::sync>(e)) {
      sync_soon();
    } else if (const auto* l = std::get_if<admission_effect::log_line>(&e)) {
      trace("coordinator: " + l->text);
    }
  }
  if (coordinator_) coordinator_timer();
}

void simulation::job_to_coordinator(run_id run, from_job m) {
  auto* job = job_of(run);
  deliver([this, job, m = std::move(m), life = coordinator_life_, over = job->connection] {
    if (coordinator_life_ != life || job->connection != over) return;  // it was said on a connection that is no more
    tell_coordinator(admission_event::job_said{job->app.run, m});
    // The end of a connection comes behind everything that was said on it.
    if (!job->alive) lose_driver(job->app.run);
  });
}

// ---- agents --------------------------------------------------------------------------------------------------------

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

// ---- the whole ---

bool simulation::all_jobs_settled() const {
  return std::all_of(jobs_.begin(), jobs_.end(), [](const auto& j) { return j->settled(); });
}

std::string simulation::run() {
  const auto broken = run_all();
  if (!broken.empty() && trace_ != nullptr && coordinator_) {
    const auto status = coordinator_->status();
    for (const auto& n : status.nodes) {
      trace(fmt::format("node {} {} {}: {} slots, {} free", n.name, to_string(n.boot), n.state, n.slots, n.free));
      for (const auto& h : n.held) trace(fmt::format("  {} {} holds {}", h.request, h.attempt, h.slots));
    }
    for (const auto& r : status.runs) trace(fmt::format("run {} {}, {} requests", r.application, r.state, r.requests));
    for (const auto& r : status.requests) {
      trace(fmt::format("request {} {} {} held {} of {}..{} {}: {}", r.label, r.kind, r.state, r.held, r.least, r.most,
                        r.attempt, r.reason));
    }
  }
  return broken;
}

std::string simulation::run_all() {
  start_coordinator();
  for (std::size_t i = 0; i < nodes_.size(); ++i) start_node(i);
  for (auto& job : jobs_) after(random(1ms, 400ms), [j = job.get()] { j->tick(); });

  const auto trouble = random(2s, 40s);
  const auto every = random(150ms, 3s);
  const auto fault_rate = rng.unit();
  for (auto at = every; at < trouble; at += random(every / 2, every * 3 / 2)) {
    after(at, [this, fault_rate] {
      if (rng.chance(fault_rate)) fault();
    });
  }
  // Faults stop; what they broke comes back. Often enough everything is over before that.
  step_until(now + trouble);
  trace("faults stop");
  quiet = true;
  if (!coordinator_) start_coordinator();
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (!nodes_[i].agent) start_node(i);
  }
  step_until(now + 400s, [this] { return all_jobs_settled(); });
  if (!broken_.empty()) return broken_;
  if (!all_jobs_settled()) {
    for (const auto& job : jobs_) {
      if (!job->settled()) broken("not settled after the faults: " + job->app.name + job->open_requests());
    }
    return broken_;
  }
  final_checks();
  return broken_;
}

}  // namespace hydrogen::gang::testing
