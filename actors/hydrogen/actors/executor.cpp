#include <hydrogen/actors/alarm.hpp>
#include <hydrogen/actors/answer_batch.hpp>
#include <hydrogen/actors/executor.hpp>
#include <hydrogen/actors/scratch_folder.hpp>
#include <hydrogen/actors/task.hpp>

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>

namespace hydrogen::actors {
namespace {

namespace event = gang::execution_event;
namespace effect = gang::execution_effect;

/// For the devices of an attempt to be closed, when their work is done already.
constexpr auto closing_limit = std::chrono::seconds(10);

/// What an attempt that the machine holds has here.
struct attempt_place {
  slot_pool::lane_ptr lane;
  std::shared_ptr<gang_gate> gate;  // gang only
  bool hears_start = false;         // its lane is released when the gate opens
};

class executor_actor : public caf::event_based_actor {
 public:
  executor_actor(caf::actor_config& cfg, process& home, executor_options options,
                 std::shared_ptr<data::block_store> store)
      : event_based_actor(cfg),
        env_(std::make_shared<task_surroundings>(home, options.boot, options.node, std::move(store))),
        options_(std::move(options)),
        machine_({.run = options_.app.run}),
        pool_(home.slots()) {
    env_->join_timeout = options_.join_timeout;
    env_->enter_timeout = options_.enter_timeout;
    env_->devices = std::make_shared<device_keeper>(options_.gpus);
  }

  caf::behavior make_behavior() override {
    env_->executor = caf::actor_cast<caf::actor_addr>(this);
    // What comes most often is looked for first.
    return {[this](const task_mail& mail) { on(mail); },
            [this](const rank_returned_mail& mail) { on(event::rank_returned{mail.ref}); },
            [this](const lane_idle_mail& mail) {
              places_.erase(mail.ref);
              close_devices(mail.ref);
            },
            [this](attempt_mail& mail) {
              if (const auto* lent = std::get_if<gang::lend_devices>(&mail.message)) {
                env_->devices->hold(lent->ref, lent->devices);
              } else if (const auto* lease = std::get_if<gang::accept_lease>(&mail.message)) {
                if (!lease->devices.empty()) env_->devices->hold(lease->ref, lease->devices);
              }
              on(event::agent_said{std::move(mail.message)});
            },
            [this](const rank_joined_mail& mail) {
              on(event::rank_joined{mail.ref, mail.everyone, mail.meets});
            },
            [this](const device_lost_mail&) { look_at_devices(); },
            [this](const devices_closed_mail& mail) {
              if (closing_.erase(mail.ref) != 0) on(event::lane_idle{mail.ref});
            },
            [this](const devices_late_mail& mail) {
              if (closing_.contains(mail.ref)) end_for_device("a device does not close");
            },
            [this](const wake_up&) {
              alarm_.rang();
              on(event::timer{});
            },
            [](const flush_mail& mail) { mail.what->flush(); },
            [this](const hang_mail&) { hung(); },
            [this](const stop_mail&) { stop(); }};
  }

  void on_exit() override {
    places_.clear();
    options_.to_agent = nullptr;
  }

 private:
  void on(event::any what) {
    machine_.on(std::move(what), hydrogen::now(), effects_);
    perform();
  }

  void on(const task_mail& mail) {
    const auto at = hydrogen::now();
    for (auto& message : *mail.messages) {
      if (auto* run = std::get_if<exec::run_task>(&message)) {
        if (run->what.storage_dir.empty()) run->what.storage_dir = options_.storage_dir;
        auto task = std::make_shared<executor_task>(std::move(run->what), env_, mail.reply);
        machine_.on(event::task_came{std::move(task)}, at, effects_);
      } else if (auto* join = std::get_if<exec::join_gang>(&message)) {
        machine_.on(event::gang_came{std::make_shared<gang_gate>(std::move(*join), options_.boot)}, at, effects_);
      } else if (auto* cancel = std::get_if<exec::cancel_task>(&message)) {
        // What came before it must be in its lane, to be found there.
        perform();
        on(event::cancel{cancel->id, std::move(cancel->why)});
      } else if (auto* drop = std::get_if<exec::drop_blocks>(&message)) {
        for (const auto& id : drop->blocks) env_->store->drop(id);
      } else if (const auto* known = std::get_if<exec::checkpoint_known>(&message)) {
        const auto place = places_.find({known->request, known->attempt});
        if (place != places_.end() && place->second.gate) place->second.gate->know(*known);
      }
    }
    perform();
  }

  void perform() {
    // A step may ask the machine again, which adds effects behind those that are left.
    for (std::size_t i = 0;; ++i) {
      if (i == effects_.size()) flush();
      if (i == effects_.size()) break;
      auto what = std::move(effects_[i]);
      if (!std::holds_alternative<effect::push>(what)) flush();
      std::visit([this](auto& e) { perform(e); }, what);
    }
    effects_.clear();
    if (!over_) alarm_.set(this, machine_.next_wakeup());
  }

  /// The agent hears that nothing is left of an attempt when its devices are closed, and their memory is free.
  void close_devices(const gang::attempt_ref& ref) {
    look_at_devices();
    const auto self = caf::actor_cast<caf::actor>(this);
    const bool waits = env_->devices->over(ref, [self, ref] { caf::anon_send(self, devices_closed_mail{ref}); });
    if (!waits || ending_) return on(event::lane_idle{ref});
    closing_.insert(ref);
    delayed_send(this, closing_limit, devices_late_mail{ref});
  }

  void look_at_devices() {
    if (const auto why = env_->devices->lost(); why.code != errc::none) end_for_device(why.message());
  }

  /// What a device holds of this process is not free before that ends. Until then the agent must not take its slots for
  /// free, so it hears nothing more but the end.
  void end_for_device(const std::string& why) {
    if (std::exchange(ending_, true)) return;
    spdlog::error("{}; this executor ends, and another one takes its place", why);
    options_.to_agent = nullptr;
    for (const auto& ref : std::exchange(closing_, {})) on(event::lane_idle{ref});
    stop();
  }

  void perform(effect::open_lane& e) {
    auto& place = places_[e.ref];
    place.lane = pool_.open(e.slots, e.gang && e.gang->in_process);
    place.gate = std::static_pointer_cast<gang_gate>(std::move(e.gang));
  }

  void perform(effect::come& e) {
    auto& place = places_.at(e.task->ref);
    const auto ref = e.task->ref;
    slot_task_ptr task = std::static_pointer_cast<executor_task>(std::move(e.task));
    auto& rank = static_cast<executor_task&>(*task);
    rank.become_actor(place.gate);
    const auto& met = rank.come(hydrogen::now());
    const bool completing = met && met->how == comm::arrival::completing;
    const std::string meets = completing ? met->with->medium() : "";
    if (!met) {
      // Its thread says why.
      pool_.release(place.lane);
    } else if (!std::exchange(place.hears_start, true)) {
      met->with->on_start([&pool = pool_, lane = place.lane] { pool.release(lane); });
    }
    pool_.push(place.lane, {&task, 1});
    if (completing) machine_.on(event::rank_joined{ref, true, meets}, hydrogen::now(), effects_);
  }

  void perform(effect::start_threads& e) { pool_.release(places_.at(e.ref).lane); }

  void perform(effect::push& e) {
    auto task = std::static_pointer_cast<executor_task>(std::move(e.task));
    if (pushed_.empty() || pushed_to_ != task->ref) {
      flush();
      pushed_to_ = task->ref;
    }
    task->become_actor(places_.at(task->ref).gate);
    pushed_.push_back(std::move(task));
  }

  void flush() {
    if (pushed_.empty()) return;
    const bool on_host = places_.at(pushed_to_).gate && places_.at(pushed_to_).gate->on_host;
    bool completing = false;
    std::string meets;
    for (std::size_t i = 0; on_host && i < pushed_.size(); ++i) {
      auto& rank = static_cast<executor_task&>(*pushed_[i]);
      if (!rank.can_come()) continue;  // its thread waits for the area
      if (const auto& met = rank.come(hydrogen::now()); met && met->how == comm::arrival::completing) {
        completing = true;
        meets = met->with->medium();
      }
    }
    pool_.push(places_.at(pushed_to_).lane, pushed_);
    pushed_.clear();
    if (completing) machine_.on(event::rank_joined{pushed_to_, true, meets}, hydrogen::now(), effects_);
  }

  void perform(effect::permit& e) { places_.at(e.ref).gate->permit(); }

  void perform(effect::enter& e) { places_.at(e.ref).gate->enter(); }

  void perform(effect::withdraw& e) {
    const auto& lane = places_.at(e.ref).lane;
    if (pool_.withdraw(lane, e.task)) {
      machine_.on(event::withdrawn{e.ref, e.task}, hydrogen::now(), effects_);
    } else {
      pool_.abort_task(lane, e.task, {errc::cancelled, e.why, {}, {}});
    }
  }

  void perform(effect::close_lane& e) {
    const auto& place = places_.at(e.ref);
    if (place.gate) env_->home.gang_links().forget({e.ref.request, e.ref.attempt});
    const auto self = caf::actor_cast<caf::actor>(this);
    pool_.close(place.lane, e.why, [self, ref = e.ref] { caf::anon_send(self, lane_idle_mail{ref}); });
  }

  void perform(effect::refuse& e) {
    const auto& task = static_cast<const executor_task&>(*e.task);
    task.reply(exec::task_refused{task.id, task.ref.request, task.ref.attempt, std::move(e.why)});
  }

  void perform(effect::report& e) {
    if (options_.to_agent) options_.to_agent(std::move(e.message));
  }

  void perform(effect::ended&) {
    env_->home.remove_executor(options_.boot);
    env_->home.remove_store(options_.boot);
    over_ = true;
    quit();
  }

  // ---- the end ----

  void stop() {
    on(event::end{});
    if (!over_ && options_.hang_limit > duration::zero()) delayed_send(this, options_.hang_limit, hang_mail{});
  }

  /// A thread cannot be ended, so the process is.
  void hung() {
    std::string who;
    for (const auto& [ref, place] : places_) {
      for (const auto& task : pool_.running(place.lane)) who += (who.empty() ? "" : ", ") + task;
    }
    if (who.empty() && !closing_.empty()) return end_for_device("a device does not close");
    std::fflush(stdout);
    std::fprintf(
        stderr,
        "hydrogen: %s: user code was told to stop %lld s ago and does not return; a thread cannot be ended, so this "
        "process is (look at stop_requested(), or run on node processes)\n",
        who.c_str(), static_cast<long long>(options_.hang_limit / 1s));
    remove_scratch_folders();
    _exit(1);
  }

  std::shared_ptr<task_surroundings> env_;
  executor_options options_;
  gang::execution machine_;
  slot_pool& pool_;
  std::map<gang::attempt_ref, attempt_place> places_;
  std::set<gang::attempt_ref> closing_;  // attempts whose devices are being closed
  gang::execution::effects effects_;
  std::vector<slot_task_ptr> pushed_;  // of `pushed_to_`: go to their lane together
  gang::attempt_ref pushed_to_;
  alarm alarm_;
  bool ending_ = false;  // for a device
  bool over_ = false;
};

}  // namespace

caf::actor spawn_executor(process& home, executor_options options) {
  auto store = std::make_shared<data::block_store>(options.block_budget, data::block_store::content::copies);
  const auto boot = options.boot;
  auto actor = home.system().spawn<executor_actor>(std::ref(home), std::move(options), store);
  home.add_store(boot, std::move(store));
  home.add_executor(boot, actor);
  return actor;
}

}  // namespace hydrogen::actors
