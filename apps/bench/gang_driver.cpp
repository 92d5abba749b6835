#include "gang_driver.hpp"

#include <hydrogen/actors/coordinator_link.hpp>
#include <hydrogen/actors/executor_links.hpp>
#include <hydrogen/actors/scheduler.hpp>

#include "engine.hpp"
#include <spdlog/fmt/fmt.h>

#include <mutex>
#include <optional>
#include <unordered_map>

namespace hydrogen::bench {

struct attached_mail {
  actors::channel<gang::from_job> to_coordinator;
};
struct coordinator_mail {
  gang::to_job message;
};
struct answer_mail {
  exec::from_task_host message;
};
struct load_mail {
  gang_load what;
};
struct end_mail {};
struct overdue_mail {
  std::uint64_t load;
};
struct trouble_mail {
  error why;
};

}  // namespace hydrogen::bench

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::bench::attached_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::bench::coordinator_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::bench::answer_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::bench::load_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::bench::end_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::bench::overdue_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::bench::trouble_mail)

namespace hydrogen::bench {

/// What the actor has for the thread that waits.
class gang_outcome {
 public:
  explicit gang_outcome(caf::actor_system& system) : waiter_(system) {}

  void set(expected<gang_times> what) {
    {
      std::lock_guard lock(mutex_);
      if (what_) return;
      what_ = std::move(what);
    }
    waiter_.notify();
  }
  expected<gang_times> take() {
    waiter_.wait([this] {
      std::lock_guard lock(mutex_);
      return what_.has_value();
    });
    std::lock_guard lock(mutex_);
    return *std::exchange(what_, std::nullopt);
  }

 private:
  std::mutex mutex_;
  std::optional<expected<gang_times>> what_;
  actors::scheduler::waiter waiter_;
};

namespace {

constexpr duration load_ends_within = 120s;
constexpr duration run_ends_within = 5s;

/// The chain of a rank that does nothing: as the dataset API makes it, and then no job is run.
exec::operator_chain idle_chain(const gang::application_ref& app) {
  class graph_reader final : public plan::session {
   public:
    explicit graph_reader(const gang::application_ref& app) : app_(app) {}
    run_id run() const override { return app_.run; }
    hash128 library() const override { return app_.hash; }
    void execute(const plan::job_graph& graph, const sink&) override {
      for (const auto& stage : graph.stages) {
        if (stage.kind == plan::stage_kind::barrier) chain = exec::operator_chain(stage.chain);
      }
    }
    exec::argument keep(byte_buffer bytes) override { return {std::move(bytes), std::nullopt}; }
    void forget(std::uint64_t) override {}
    std::uint64_t max_result() const override { return 0; }
    exec::operator_chain chain;

   private:
    const gang::application_ref& app_;
  } reader(app);
  context ctx(reader, {});
  idle_gang(ctx, 1);
  return reader.chain;
}

class driver_actor : public caf::event_based_actor {
 public:
  driver_actor(caf::actor_config& cfg, actors::process& home, gang::application_ref app,
               std::shared_ptr<gang_outcome> outcome)
      : event_based_actor(cfg),
        home_(home),
        app_(std::move(app)),
        chain_(idle_chain(app_)),
        outcome_(std::move(outcome)) {}

  caf::behavior make_behavior() override {
    const auto self = caf::actor_cast<caf::actor>(this);
    links_ = std::make_shared<actors::executor_links>(
        home_, [self](boot_id, exec::from_task_host&& m) { caf::anon_send(self, answer_mail{std::move(m)}); },
        [self](boot_id, const error& why, bool) { caf::anon_send(self, trouble_mail{why}); });
    return {[this](attached_mail& m) {
              to_coordinator_ = std::move(m.to_coordinator);
              to_coordinator_(gang::begin_run{app_});
            },
            [this](coordinator_mail& m) { std::visit([this](auto& x) { heard(x); }, m.message); },
            [this](answer_mail& m) { std::visit([this](auto& x) { heard(x); }, m.message); },
            [this](const load_mail& m) {
              load_ = m.what;
              times_ = {};
              times_.begin = hydrogen::now();
              submitted_ = 0;
              delayed_send(this, load_ends_within, overdue_mail{++loads_});
              submit();
            },
            [this](const overdue_mail& m) {
              if (m.load == loads_) trouble({errc::timed_out, "the gangs do not come to an end", {}, {}});
            },
            [this](const end_mail&) {
              load_ = {1, 0, 0};
              delayed_send(this, run_ends_within, overdue_mail{++loads_});
              to_coordinator_ ? to_coordinator_(gang::end_run{app_.run}) : outcome_->set(gang_times{});
            },
            [this](trouble_mail& m) { trouble(std::move(m.why)); },
            [this](const actors::stop_mail&) { quit(); }};
  }

  void on_exit() override {
    if (links_) links_->close();
    links_.reset();
    to_coordinator_ = nullptr;
  }

 private:
  struct running_gang {
    time_point submitted;
    std::uint32_t left = 0;  // ranks that have not returned
    bool placed = false;
    bool granted = false;
  };

  void submit() {
    while (begun_ && submitted_ < load_.gangs && gangs_.size() < load_.in_flight) {
      ++submitted_;
      const request_id id{app_.run, next_job_++, 0, 0};
      gangs_[id] = {hydrogen::now(), load_.ranks};
      gang::slot_request request{id, gang::request_kind::gang, load_.ranks, load_.ranks, app_, "idle gang", {}};
      if (load_.spread) request.needs.how = placement::spread;
      to_coordinator_(gang::admit{std::move(request)});
    }
  }

  void heard(const gang::begun&) {
    begun_ = true;
    submit();
  }
  void heard(const gang::admitted&) {}
  void heard(const gang::fence& m) { to_coordinator_(gang::fenced{m.request, m.attempt}); }
  void heard(const gang::placed& m) {
    const auto at = gangs_.find(m.request);
    if (at == gangs_.end() || std::exchange(at->second.placed, true)) return;
    members_ += m.members.size();
    std::vector<comm::gang_member> members(load_.ranks);
    for (const auto& member : m.members) {
      for (const auto rank : member.ranks) members.at(rank) = {rank, member.executor, member.endpoint, member.node};
    }
    const exec::join_gang join{m.request, m.attempt, std::move(members)};
    for (const auto& member : m.members) {
      std::vector<exec::to_task_host> messages{join};
      for (const auto rank : member.ranks) {
        exec::task task;
        task.id = {m.request.run, m.request.job, 0, rank, 0};
        task.request = m.request;
        task.attempt = m.attempt;
        task.label = "idle gang";
        task.chain = chain_;
        task.inputs.emplace_back();
        task.rank = exec::rank_part{load_.ranks, 0, std::nullopt};
        messages.push_back(exec::run_task{std::move(task)});
      }
      links_->send({member.executor, member.endpoint}, std::move(messages));
    }
  }
  void heard(const gang::granted& m) {
    const auto at = gangs_.find(m.request);
    if (at == gangs_.end() || std::exchange(at->second.granted, true)) return;
    times_.to_granted.push_back(hydrogen::now() - at->second.submitted);
  }
  void heard(const gang::decided& m) {
    if (gangs_.erase(m.request) == 0) return;
    times_.closed.push_back(hydrogen::now());
    submit();
    if (times_.closed.size() < load_.gangs) return;
    ++loads_;
    times_.members = static_cast<double>(std::exchange(members_, 0)) / static_cast<double>(load_.gangs);
    outcome_->set(std::exchange(times_, {}));
  }
  void heard(const gang::run_over&) { outcome_->set(gang_times{}); }
  void heard(const gang::denied& m) { trouble(m.why); }
  void heard(const gang::ended& m) { trouble({errc::aborted, "a gang ended: " + m.detail, {}, {}}); }
  void heard(const gang::executor_gone& m) {
    trouble({errc::disconnected, "an executor died: " + m.cause, m.node, {}});
  }
  /// Of parallel stages.
  template <class Message>
  void heard(const Message&) {}

  void heard(const exec::task_done& m) {
    const auto at = gangs_.find(m.request);
    if (at == gangs_.end() || --at->second.left > 0) return;
    to_coordinator_(gang::decision{m.request, m.attempt, 1, gang::decision_kind::release, {}});
  }
  void heard(const exec::task_failed& m) { trouble(m.why.cause); }
  void heard(const exec::task_refused& m) { trouble({errc::refused, m.why, {}, {}}); }
  void heard(const exec::checkpointed&) {}

  void trouble(error why) { outcome_->set(unexpected(std::move(why))); }

  actors::process& home_;
  const gang::application_ref app_;
  const exec::operator_chain chain_;
  const std::shared_ptr<gang_outcome> outcome_;
  std::shared_ptr<actors::executor_links> links_;
  actors::channel<gang::from_job> to_coordinator_;
  bool begun_ = false;
  gang_load load_{1, 0, 0};
  std::uint64_t loads_ = 0;
  std::uint64_t submitted_ = 0;  // of this load
  std::uint32_t next_job_ = 0;
  std::uint64_t members_ = 0;
  std::unordered_map<request_id, running_gang> gangs_;
  gang_times times_;
};

}  // namespace

gang_driver::gang_driver(actors::local_cluster& cluster)
    : cluster_(cluster), outcome_(std::make_shared<gang_outcome>(cluster.home().system())) {
  auto& home = cluster.home();
  auto app = bench_application();
  app.driver = home.boot();
  app.endpoint = home.endpoint();
  actor_ = home.system().spawn<driver_actor>(std::ref(home), std::move(app), outcome_);
  const auto hear = [to = actor_](gang::to_job m) { caf::anon_send(to, coordinator_mail{std::move(m)}); };
  if (const auto coordinator = cluster.coordinator()) {
    key_ = actors::next_peer_key();
    caf::anon_send(coordinator, actors::attach_peer{key_, "driver", {}, {}, hear, {}});
    caf::anon_send(actor_, attached_mail{[coordinator, key = key_](gang::from_job&& m) {
                     caf::anon_send(coordinator, actors::driver_mail{key, std::move(m)});
                   }});
    return;
  }
  actors::coordinator_link_handlers handlers;
  handlers.connected = [to = actor_](const comm::connection_ptr& link) {
    caf::anon_send(to, attached_mail{[link](const gang::from_job& m) {
                     link->send(actors::make_frame(actors::frame_kind::from_job, m));
                   }});
  };
  handlers.frame = [hear](byte_buffer frame) {
    if (auto message = actors::read_frame<gang::to_job>(frame)) hear(std::move(*message));
  };
  const auto trouble = [to = actor_](const error& why) { caf::anon_send(to, trouble_mail{why}); };
  handlers.lost = trouble;
  handlers.refused = trouble;
  link_ = actors::spawn_coordinator_link(home, cluster.address(), std::move(handlers));
}

gang_driver::~gang_driver() {
  caf::anon_send(actor_, end_mail{});
  (void)outcome_->take();
  caf::anon_send(actor_, actors::stop_mail{});
  if (link_) caf::anon_send(link_, actors::stop_mail{});
  if (key_ != 0) caf::anon_send(cluster_.coordinator(), actors::detach_peer{key_, {}});
}

gang_times gang_driver::run(const gang_load& load) {
  caf::anon_send(actor_, load_mail{load});
  return value_or_throw(outcome_->take());
}

}  // namespace hydrogen::bench
