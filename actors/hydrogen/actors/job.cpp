#include <hydrogen/actors/alarm.hpp>
#include <hydrogen/actors/job.hpp>

#include <spdlog/spdlog.h>

namespace hydrogen::actors {
namespace {

class job_actor : public caf::event_based_actor {
 public:
  job_actor(caf::actor_config& cfg, job::setup setup, job_surroundings around)
      : event_based_actor(cfg), machine_(std::move(setup)), around_(std::move(around)) {}

  caf::behavior make_behavior() override {
    return {[this](const job_event_mail& mail) { on(std::move(*mail.what)); },
            [this](const wake_up&) {
              alarm_.rang();
              on(job::timer{});
            },
            [this](const stop_mail&) { quit(); }};
  }

  void on_exit() override { around_ = {}; }

 private:
  void on(job::event what) {
    effects_.clear();
    machine_.on(std::move(what), hydrogen::now(), effects_);
    for (auto& effect : effects_) std::visit([&](auto& e) { perform(e); }, effect);
    if (machine_.over()) {
      around_.over();
      quit();
      return;
    }
    alarm_.set(this, machine_.next_wakeup());
  }

  void perform(job::to_coordinator& e) { around_.to_coordinator(e.what); }
  void perform(job::to_executor& e) { around_.to_executor(e.at, std::move(e.what)); }
  void perform(job::copy_blocks& e) { around_.copy_blocks(caf::actor_cast<caf::actor>(this), std::move(e)); }
  void perform(job::drop_copies& e) { around_.drop_copies(e.blocks); }
  void perform(job::result_ready& e) { around_.outcome(std::move(e)); }
  void perform(job::finished& e) { around_.outcome(std::move(e)); }
  void perform(job::failed& e) { around_.outcome(std::move(e)); }
  void perform(job::checkpoint_complete&) {}  // the machine's log line says it; ranks remove old pieces themselves
  void perform(job::log_line& e) {
    e.level == job::log_level::warning ? spdlog::warn("{}", e.text) : spdlog::info("{}", e.text);
  }

  job::machine machine_;
  job_surroundings around_;
  alarm alarm_;
  std::vector<job::effect> effects_;
};

}  // namespace

caf::actor spawn_job(caf::actor_system& system, job::setup setup, job_surroundings around) {
  return system.spawn<job_actor, caf::lazy_init>(std::move(setup), std::move(around));
}

}  // namespace hydrogen::actors
