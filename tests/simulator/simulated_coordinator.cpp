// The simulation's coordinator: its life, journal, timer, and what it says.

#include "model_job.hpp"
#include "simulation.hpp"
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>

namespace hydrogen::gang::testing {

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

}  // namespace hydrogen::gang::testing
