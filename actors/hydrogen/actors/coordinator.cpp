#include <hydrogen/actors/alarm.hpp>
#include <hydrogen/actors/coordinator.hpp>
#include <hydrogen/actors/journal_thread.hpp>
#include <hydrogen/actors/scheduler.hpp>

#include <spdlog/spdlog.h>

#include <unordered_map>

namespace hydrogen::actors {
namespace {

class coordinator_actor : public caf::event_based_actor {
 public:
  coordinator_actor(caf::actor_config& cfg, gang::admission_options options, std::unique_ptr<gang::journal> journal)
      : event_based_actor(cfg), machine_(options, journal->known(), hydrogen::now()), opened_(std::move(journal)) {}

  caf::behavior make_behavior() override {
    namespace event = gang::admission_event;
    const auto self = caf::actor_cast<caf::actor>(this);
    journal_ =
        std::make_unique<journal_thread>(std::move(opened_), [self, &system = system()](const event::synced& news) {
          // The next sync is this thread's as soon as the coordinator asks for it.
          const scheduler::helper actors(system, true);
          caf::anon_send(self, journal_synced{news});
        });
    perform(machine_.start(hydrogen::now()));
    // What comes most often is looked for first.
    return {[this](agent_mail& m) { on(m); },
            [this](driver_mail& m) { on(m); },
            [this](const journal_synced& m) { feed(m.news); },
            [this](const attach_peer& m) {
              peers_[m.key] = peer{m, {}, {}};
            },
            [this](const detach_peer& m) { on(m); },
            [this](const status_mail& m) {
              const auto at = peers_.find(m.key);
              if (at == peers_.end() || !at->second.channels.to_observer) return;
              at->second.channels.to_observer(make_frame(frame_kind::status_reply, machine_.status()));
            },
            [this](const drain_mail& m) {
              feed(event::drain{m.key, m.node, m.on});
            },
            [this](const wake_up&) {
              alarm_.rang();
              feed(event::timer{});
            },
            [this](const stop_mail&) { quit(); }};
  }

  void on_exit() override {
    // Joins a thread that may be in the middle of one sync; the last thing this actor does.
    journal_.reset();
    peers_.clear();
  }

 private:
  struct peer {
    attach_peer channels;
    boot_id agent;  // who has spoken on it
    run_id run;
  };

  void on(agent_mail& m) {
    const auto at = peers_.find(m.key);
    if (at == peers_.end()) return;
    if (const auto* enlist = std::get_if<gang::enlist>(&m.message)) {
      // One connection, one agent: a new boot of it takes the place of the old one.
      if (at->second.agent != enlist->agent) forget_agent(at->second.agent, m.key);
      at->second.agent = enlist->agent;
      agents_[enlist->agent] = m.key;
    }
    feed(gang::admission_event::agent_said{std::move(m.message)});
  }

  void on(driver_mail& m) {
    const auto at = peers_.find(m.key);
    if (at == peers_.end()) return;
    if (const auto* begin = std::get_if<gang::begin_run>(&m.message)) {
      const auto& from = at->second.channels.from;
      const auto known = drivers_.find(begin->app.run);
      const auto other_driver = from && begin->app.driver != from;
      const auto other_run = at->second.run != run_id{} && at->second.run != begin->app.run;
      const auto taken = known != drivers_.end() && known->second != m.key && peers_.count(known->second) != 0 &&
                         peers_.at(known->second).channels.from != from;
      if (other_driver || other_run || taken) {
        spdlog::warn("{} speaks for a run that is not its own; ignored", at->second.channels.who);
        return;
      }
      at->second.run = begin->app.run;
      drivers_[begin->app.run] = m.key;
    }
    feed(gang::admission_event::job_said{at->second.run, std::move(m.message)});
  }

  void on(const detach_peer& m) {
    const auto at = peers_.find(m.key);
    if (at == peers_.end()) return;
    const auto gone = at->second;
    peers_.erase(at);
    // A peer that has already come back on another connection is not lost.
    if (const auto a = agents_.find(gone.agent); a != agents_.end() && a->second == m.key) {
      agents_.erase(a);
      spdlog::warn("lost contact with {}: {}", gone.channels.who, m.why.message());
      feed(gang::admission_event::agent_lost{gone.agent});
    }
    if (const auto d = drivers_.find(gone.run); d != drivers_.end() && d->second == m.key) {
      drivers_.erase(d);
      feed(gang::admission_event::driver_lost{gone.run});
    }
  }

  void forget_agent(boot_id which, peer_key key) {
    const auto at = agents_.find(which);
    if (at != agents_.end() && at->second == key) agents_.erase(at);
  }

  void feed(gang::admission::event what) { perform(machine_.on(what, hydrogen::now())); }

  void perform(gang::admission::effects effects) {
    for (auto& effect : effects) {
      if (auto* e = std::get_if<gang::admission_effect::append>(&effect)) {
        journal_->append(std::move(e->what));
      } else if (std::holds_alternative<gang::admission_effect::sync>(effect)) {
        journal_->sync();
      } else if (auto* e = std::get_if<gang::admission_effect::tell_agent>(&effect)) {
        if (const auto at = agents_.find(e->agent); at != agents_.end()) {
          const auto to = peers_.find(at->second);
          if (to != peers_.end() && to->second.channels.to_agent) to->second.channels.to_agent(std::move(e->message));
        }
      } else if (auto* e = std::get_if<gang::admission_effect::tell_job>(&effect)) {
        if (const auto at = drivers_.find(e->run); at != drivers_.end()) {
          const auto to = peers_.find(at->second);
          if (to != peers_.end() && to->second.channels.to_job) to->second.channels.to_job(std::move(e->message));
        }
      } else if (auto* e = std::get_if<gang::admission_effect::answer_drain>(&effect)) {
        const auto to = peers_.find(e->ticket);
        if (to != peers_.end() && to->second.channels.to_observer) {
          to->second.channels.to_observer(make_frame(frame_kind::drain_reply, e->problem));
        }
      } else if (auto* e = std::get_if<gang::admission_effect::log_line>(&effect)) {
        e->warning ? spdlog::warn("{}", e->text) : spdlog::info("{}", e->text);
      }
    }
    alarm_.set(this, machine_.next_wakeup());
  }

  gang::admission machine_;
  std::unique_ptr<gang::journal> opened_;
  std::unique_ptr<journal_thread> journal_;
  std::unordered_map<peer_key, peer> peers_;
  std::unordered_map<boot_id, peer_key> agents_;
  std::unordered_map<run_id, peer_key> drivers_;
  alarm alarm_;
};

}  // namespace

caf::actor spawn_coordinator(caf::actor_system& system, gang::admission_options options,
                             std::unique_ptr<gang::journal> journal) {
  auto actor = system.spawn<coordinator_actor>(options, std::move(journal));
  end_process_with(actor, "coordinator");
  return actor;
}

std::pair<comm::connection_handlers, process::open_handler> coordinator_peer(const caf::actor& coordinator,
                                                                             const comm::hello& peer) {
  const auto key = next_peer_key();
  comm::connection_handlers handlers;
  // The key and the channels arrive with the first frame at the latest: a frame may come before `open` has run.
  const auto attached = std::make_shared<std::atomic<bool>>(false);
  const auto attach = [coordinator, key, attached, who = comm::name_of(peer),
                       from = peer.from](const comm::connection_ptr& link) {
    if (attached->exchange(true)) return;
    attach_peer hello{key, who, from, {}, {}, {}};
    hello.to_agent = [link](const gang::to_agent& m) { link->send(make_frame(frame_kind::to_agent, m)); };
    hello.to_job = [link](const gang::to_job& m) { link->send(make_frame(frame_kind::to_job, m)); };
    hello.to_observer = [link](byte_buffer frame) { link->send(frame); };
    caf::anon_send(coordinator, std::move(hello));
  };
  handlers.on_frame = [coordinator, key, attach](const comm::connection_ptr& link, byte_buffer frame) {
    attach(link);
    bool understood = false;
    switch (kind_of(frame)) {
      case frame_kind::from_agent:
        if (auto m = read_frame<gang::from_agent>(frame)) {
          understood = true;
          caf::anon_send(coordinator, agent_mail{key, std::move(*m)});
        }
        break;
      case frame_kind::from_job:
        if (auto m = read_frame<gang::from_job>(frame)) {
          understood = true;
          caf::anon_send(coordinator, driver_mail{key, std::move(*m)});
        }
        break;
      case frame_kind::status_request:
        understood = true;
        caf::anon_send(coordinator, status_mail{key});
        break;
      case frame_kind::drain_request:
        if (auto m = read_frame<drain_request>(frame)) {
          understood = true;
          caf::anon_send(coordinator, drain_mail{key, std::move(m->node), m->on});
        }
        break;
      default:
        break;
    }
    if (!understood)
      link->close({errc::bad_input, "a frame that a coordinator does not understand", comm::name_of(link->peer()), {}});
  };
  handlers.on_closed = [coordinator, key](const comm::connection_ptr&, const error& why) {
    caf::anon_send(coordinator, detach_peer{key, why});
  };
  return {std::move(handlers), {}};
}

}  // namespace hydrogen::actors
