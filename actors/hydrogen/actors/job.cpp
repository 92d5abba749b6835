#include <hydrogen/actors/alarm.hpp>
#include <hydrogen/actors/job.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>

namespace hydrogen::actors {
namespace {

class job_actor : public caf::event_based_actor {
 public:
  job_actor(caf::actor_config& cfg, job::setup setup, job_surroundings around, std::shared_ptr<job_inbox> inbox)
      : event_based_actor(cfg), machine_(std::move(setup)), around_(std::move(around)), inbox_(std::move(inbox)) {}

  caf::behavior make_behavior() override {
    return {[this](const job_inbox_mail&) {
              inbox_->take(events_);
              on_events();
            },
            [this](const wake_up&) {
              alarm_.rang();
              events_.push_back(job::timer{});
              on_events();
            },
            [this](const stop_mail&) { quit(); }};
  }

  void on_exit() override { around_ = {}; }

 private:
  /// All of them before anything is done, so that what goes to one receiver goes together.
  void on_events() {
    const auto at = hydrogen::now();
    for (auto& what : events_) machine_.on(std::move(what), at, effects_);
    events_.clear();
    for (auto& effect : effects_) {
      std::visit([&](auto& e) { perform(e, effect); }, effect);
    }
    effects_.clear();
    for (auto& [to, messages] : to_executors_) {
      if (!messages.empty()) around_.to_executor(to, std::exchange(messages, {}));
    }
    if (!outcomes_.empty()) around_.outcomes(std::exchange(outcomes_, {}));
    if (machine_.over()) {
      around_.over();
      quit();
      return;
    }
    alarm_.set(this, machine_.next_wakeup());
  }

  void perform(job::to_coordinator& e, job::effect&) { around_.to_coordinator(std::move(e.what)); }
  void perform(job::to_executor& e, job::effect&) {
    auto at = std::find_if(to_executors_.begin(), to_executors_.end(), [&](const auto& x) { return x.first == e.at; });
    if (at == to_executors_.end()) at = to_executors_.insert(at, {std::move(e.at), {}});
    at->second.push_back(std::move(e.what));
  }
  void perform(job::copy_blocks& e, job::effect&) {
    around_.copy_blocks({caf::actor_cast<caf::actor>(this), inbox_}, std::move(e));
  }
  void perform(job::drop_copies& e, job::effect&) { around_.drop_copies(e.blocks); }
  void perform(job::result_ready&, job::effect& whole) { outcomes_.push_back(std::move(whole)); }
  void perform(job::finished&, job::effect& whole) { outcomes_.push_back(std::move(whole)); }
  void perform(job::failed&, job::effect& whole) { outcomes_.push_back(std::move(whole)); }
  void perform(job::checkpoint_complete&, job::effect&) {
  }  // the machine's log line says it; ranks remove old pieces themselves
  void perform(job::log_line& e, job::effect&) {
    e.level == job::log_level::warning ? spdlog::warn("{}", e.text) : spdlog::info("{}", e.text);
  }

  job::machine machine_;
  job_surroundings around_;
  std::shared_ptr<job_inbox> inbox_;
  alarm alarm_;
  std::vector<job::event> events_;
  std::vector<job::effect> effects_;
  std::vector<std::pair<data::process_ref, std::vector<exec::to_task_host>>> to_executors_;  // by who was met first
  std::vector<job::effect> outcomes_;
};

}  // namespace

job_handle spawn_job(caf::actor_system& system, job::setup setup, job_surroundings around) {
  auto inbox = std::make_shared<job_inbox>();
  return {system.spawn<job_actor, caf::lazy_init>(std::move(setup), std::move(around), inbox), inbox};
}

}  // namespace hydrogen::actors
