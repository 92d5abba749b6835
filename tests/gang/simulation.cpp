#include "simulation.hpp"

#include "model_job.hpp"
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace hydrogen::gang::testing {

simulation::simulation(std::uint64_t seed) : rng(seed), tracing_(std::getenv("HYDROGEN_TRACE") != nullptr) {
  reservation_options_.start_timeout = 6s;
  reservation_options_.contact_running = 60s;
  reservation_options_.join_timeout = 8s;
  admission_options_.gate_deadline = 20s;
  admission_options_.contact_grace = 1s;
  const auto gentle = rng.chance(0.2);  // some seeds have few faults, so that what is rare otherwise happens
  faults.drop = gentle ? 0.01 : rng.unit() * 0.2;
  faults.repeat = gentle ? 0.01 : rng.unit() * 0.2;
  faults.slow = gentle ? 0.02 : rng.unit() * 0.3;
  faults.executor_start_fails = gentle ? 0 : 0.1;
  faults.library_fails = gentle ? 0 : 0.02;
  faults.slow_start = gentle ? 0 : 0.1;
  faults.rank_fails = gentle ? 0.01 : 0.08;
  faults.stop_hangs = gentle ? 0.01 : 0.1;
  const auto nodes = 1 + rng.below(4);
  for (std::size_t i = 0; i < nodes; ++i) {
    auto& n = nodes_.emplace_back();
    n.name = fmt::format("n{}", i);
    n.slots = static_cast<std::uint32_t>(1 + rng.below(4));
    total_slots += n.slots;
  }
  const auto jobs = 2 + rng.below(2);
  for (std::uint32_t i = 0; i < jobs; ++i) {
    application_ref app;
    app.run = {seed, i + 1};
    app.name = fmt::format("app{}", i);
    auto job = std::make_unique<model_job>(*this, app);
    const auto requests = 1 + rng.below(3);
    for (std::uint32_t k = 0; k < requests; ++k) {
      slot_request what;
      what.id = {app.run, 0, k, 0};
      what.app = app;
      what.label = fmt::format("{} stage {}", app.name, k);
      if (rng.chance(0.6)) {
        what.kind = request_kind::gang;
        const bool too_big = rng.chance(0.05);
        what.least = static_cast<std::uint32_t>(1 + rng.below(total_slots) + (too_big ? total_slots : 0));
        what.most = what.least;
        if (what.least > total_slots) denied_rightly.insert(what.id);
        job->gangs[what.id].what = what;
      } else {
        auto& s = job->stages[what.id];
        s.to_do = static_cast<std::uint32_t>(1 + rng.below(12));
        what.most = s.to_do;
        s.what = what;
      }
    }
    jobs_.push_back(std::move(job));
  }
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
  if (broken_.empty()) broken_ = fmt::format("at {} ms: {}", now.time_since_epoch() / 1ms, what);
  trace("BROKEN: " + what);
}

void simulation::trace(const std::string& text) {
  if (tracing_)
    std::fprintf(stderr, "%10.3f  %s\n", static_cast<double>(now.time_since_epoch().count()) / 1e6, text.c_str());
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
  coordinator_.emplace(admission_options_, journal_->known(), now);
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
  ++coordinator_life_;
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
  if (tracing_) {
    if (const auto* a = std::get_if<admission_event::agent_said>(&e)) {
      if (const auto* n = std::get_if<entry_report_news>(&a->message)) {
        trace(fmt::format("  -> coordinator: {} {} news {} refusal {} of {}", to_string(n->ref.request),
                          to_string(n->ref.attempt), static_cast<int>(n->news), static_cast<int>(n->refusal),
                          to_string(n->agent)));
      }
    }
  }
  carry_out(coordinator_->on(e, now));
}

void simulation::coordinator_timer() {
  const auto at = coordinator_->next_wakeup();
  if (at == never) return;
  // Early or late timers must do no harm.
  auto wait = std::max(at - now, duration::zero());
  if (!quiet && rng.chance(0.1)) wait = rng.chance(0.5) ? wait / 2 : wait + random(0ms, 300ms);
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
    for (const auto& r : std::exchange(appended_, {})) on_durable(r);
    admission_event::synced news{*n};
    disk_full_ = !quiet && rng.chance(disk_full_ ? 0.8 : 0.01);
    if (disk_full_) news.shortage = {errc::refused, "the disk is full", "journal", {}};
    tell_coordinator(std::move(news));
  });
}

void simulation::on_durable(const record& r) {
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

void simulation::carry_out(const admission::effects& effects) {
  for (const auto& e : effects) {
    if (const auto* a = std::get_if<admission_effect::tell_agent>(&e)) {
      for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (nodes_[i].cut || !nodes_[i].agent || nodes_[i].agent->boot() != a->agent) continue;
        // To the address: an agent that was started again there gets what was meant for the old one.
        deliver([this, i, m = a->message] {
          if (nodes_[i].agent && !nodes_[i].cut) tell_agent(i, reservation_event::coordinator_said{m});
        });
      }
    } else if (const auto* j = std::get_if<admission_effect::tell_job>(&e)) {
      if (const auto* m = std::get_if<ended>(&j->message); m != nullptr && m->cause == end_cause::cancelled) {
        check_cancelled(m->request);
      }
      for (auto& job : jobs_) {
        if (job->app.run != j->run) continue;
        // What an older connection brings is dropped by the driver's actor.
        deliver([this, job = job.get(), m = j->message, life = coordinator_life_] {
          if (job->alive && job->connected && coordinator_life_ == life) job->said(m);
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
  deliver([this, run, m = std::move(m), life = coordinator_life_] {
    if (coordinator_life_ != life) return;  // it was said on a connection that is no more
    tell_coordinator(admission_event::job_said{run, m});
    for (const auto& job : jobs_) {
      // The end of a connection comes behind everything that was said on it.
      if (job->app.run == run && !job->alive) lose_driver(run);
    }
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
  n.agent.emplace(options, boot_id{rng() | 1});
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
  n.connected = false;
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

void simulation::tell_agent(std::size_t i, const reservation::event& e) {
  changed_ = true;
  carry_out(i, nodes_[i].agent->on(e, now));
}

void simulation::agent_timer(std::size_t i) {
  auto& n = nodes_[i];
  const auto at = n.agent->next_wakeup();
  if (at == never) return;
  auto wait = std::max(at - now, duration::zero());
  if (!quiet && rng.chance(0.1)) wait = rng.chance(0.5) ? wait / 2 : wait + random(0ms, 300ms);
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

// ---- faults --------------------------------------------------------------------------------------------------------

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

void simulation::fault() {
  const auto node = rng.below(nodes_.size());
  auto& job = *jobs_[rng.below(jobs_.size())];
  switch (rng.below(12)) {
    case 0:
      if (coordinator_) {
        crash_coordinator();
        after(random(1ms, rng.chance(0.2) ? 20s : 2s), [this] {
          if (!coordinator_ && !gone_for_good_) start_coordinator();
        });
      }
      break;
    case 1:
      crash_node(node);
      after(random(1ms, rng.chance(0.3) ? 15s : 1s), [this, node] {
        if (!nodes_[node].agent) start_node(node);
      });
      break;
    case 2:
      cut_node(node, random(100ms, 12s));
      break;
    case 3:
    case 4:
    case 5: {
      std::vector<boot_id> alive;
      for (const auto& [boot, x] : executors_) {
        if (x.alive) alive.push_back(boot);
      }
      if (!alive.empty()) executor_dies(alive[rng.below(alive.size())], "killed");
      break;
    }
    case 6:
      if (rng.chance(0.3)) crash_driver(rng.below(jobs_.size()));
      break;
    case 7:
      if (rng.chance(0.5)) job.cancel_something();
      break;
    case 8:
    case 9:
      job.park_something();
      break;
    case 10:
      // A driver whose connection breaks for a moment.
      if (job.alive && job.connected && coordinator_) {
        job.connected = false;
        job.was_away = true;
        tell_coordinator(admission_event::driver_lost{job.app.run});
        after(random(1ms, 700ms), [this, j = &job, life = coordinator_life_] {
          if (coordinator_life_ == life && coordinator_) j->connect();
        });
      }
      break;
    default:
      break;
  }
}

// ---- the whole -----------------------------------------------------------------------------------------------------

bool simulation::all_jobs_settled() const {
  return std::all_of(jobs_.begin(), jobs_.end(), [](const auto& j) { return j->settled(); });
}

std::string simulation::run() {
  const auto broken = run_all();
  if (!broken.empty() && tracing_ && coordinator_) {
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

void simulation::final_checks() {
  const auto all_free = [this] {
    for (const auto& n : nodes_) {
      if (!n.agent || n.agent->free() != n.slots) return false;
    }
    return true;
  };
  if (rng.chance(0.3)) {
    // The coordinator never returns: agents free everything by themselves.
    gone_for_good_ = true;
    crash_coordinator();
    step_until(now + 200s);
    if (!broken_.empty()) return;
    if (!all_free()) broken("without a coordinator an agent does not free its slots");
    for (const auto& [boot, x] : executors_) {
      if (x.alive) broken("without a coordinator an executor lives on");
    }
    return;
  }
  for (auto& job : jobs_) job->ending = true;
  step_until(now + 60s);
  if (!broken_.empty()) return;
  for (const auto& job : jobs_) {
    if (job->alive && !job->ended) broken("a run does not end: " + job->app.name);
  }
  if (!all_free()) broken("when all is over, an agent does not show all slots free");
  if (coordinator_->account().total_free() != total_slots) {
    broken(fmt::format("when all is over the ledger shows {} of {} slots free", coordinator_->account().total_free(),
                       total_slots));
  }
  for (const auto& [boot, x] : executors_) {
    if (x.alive) broken("an executor outlives its run");
  }
  const auto status = coordinator_->status();
  if (!status.requests.empty() || !status.runs.empty()) broken("the coordinator still knows a request of an ended run");
}

/// Whoever is told that a gang was cancelled may rely on it that none of its ranks runs.
void simulation::check_cancelled(const request_id& id) {
  for (const auto& n : nodes_) {
    if (!n.agent || coordinator_->account().find(n.agent->boot()) == nullptr) continue;
    for (const auto& e : n.agent->entries()) {
      if (e.ref.request == id && gos_.contains(e.ref)) broken("a gang was called cancelled while a node held it");
    }
  }
}

/// The invariants, after every step in which a machine did something.
void simulation::check() {
  if (!std::exchange(changed_, false)) return;
  std::vector<std::uint32_t> used(nodes_.size());
  for (const auto& [boot, x] : executors_) {
    if (!x.alive) continue;
    for (const auto& [ref, l] : x.lanes) used[x.node] += l.slots;
    for (const auto& [task, came] : x.undecided) {
      if (now - came > 1s) broken("a task was neither run nor refused");
    }
  }
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    auto& n = nodes_[i];
    if (!n.agent) continue;
    std::uint32_t sum = 0;
    std::vector<attempt_ref> live;
    for (const auto& e : n.agent->entries()) {
      sum += e.slots;
      live.push_back(e.ref);
      if (n.ended.contains(e.ref)) broken("an entry came back to life");
      auto& [state, since] = n.since.try_emplace(e.ref, e.state, now).first->second;
      if (state != e.state) {
        state = e.state;
        since = now;
      }
      const bool bounded = e.state != entry_state::running;
      if (bounded && now - since > 90s) broken("slots are held without running for too long");
    }
    std::erase_if(n.since, [&](const auto& s) { return std::find(live.begin(), live.end(), s.first) == live.end(); });
    if (sum + n.agent->free() != n.slots) broken("an agent's slots do not add up");
    if (used[i] > n.slots) broken("executors use more slots than their node has");
    if (used[i] > sum) broken("a slot was freed before its executor was done with it");
    if (n.agent->term() < n.seen) broken("an agent went back to an older term");
    n.seen = n.agent->term();
    if (coordinator_) {
      const auto* node = coordinator_->account().find(n.agent->boot());
      if (node != nullptr && node->free() > n.agent->free()) broken("the ledger believes more free than is free");
    }
  }
  if (coordinator_ && rng.chance(0.01)) {
    for (const auto& r : coordinator_->status().requests) {
      if (r.state != "running" && r.reason.empty())
        broken("a request waits without a reason: " + to_string(r.id) + " " + r.state);
    }
  }
}

}  // namespace hydrogen::gang::testing
