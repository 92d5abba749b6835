#include <hydrogen/actors/agent.hpp>
#include <hydrogen/actors/alarm.hpp>
#include <hydrogen/actors/janitor.hpp>

#include <spdlog/spdlog.h>

namespace hydrogen::actors {
namespace {

class agent_actor : public caf::event_based_actor {
 public:
  agent_actor(caf::actor_config& cfg, gang::reservation_options options, std::string storage)
      : event_based_actor(cfg), machine_(std::move(options), make_boot_id()), janitor_(std::move(storage)) {}

  caf::behavior make_behavior() override {
    namespace event = gang::reservation_event;
    // What comes most often is looked for first.
    return {[this](order_mail& m) { on(event::coordinator_said{std::move(m.message)}); },
            [this](executor_news_mail& m) {
              on(event::executor_said{m.executor, std::move(m.message)});
            },
            [this](const host_mail& m) { host_ = m.host; },
            [this](const coordinator_attached& m) {
              to_coordinator_ = m.to_coordinator;
              on(event::coordinator_connected{});
            },
            [this](const coordinator_detached&) {
              to_coordinator_ = nullptr;
              on(event::coordinator_lost{});
            },
            [this](const executor_ready_mail& m) {
              on(event::executor_ready{m.run, m.executor, m.endpoint});
            },
            [this](const executor_failed_mail& m) {
              on(event::executor_failed{m.run, m.executor, m.kind, m.why});
            },
            [this](const executor_died_mail& m) {
              on(event::executor_died{m.run, m.executor, m.cause});
            },
            [this](const wake_up&) {
              alarm_.rang();
              on(event::timer{});
            },
            [this](const stop_mail&) { quit(); }};
  }

  void on_exit() override {
    to_coordinator_ = nullptr;
    host_.reset();
  }

 private:
  void on(gang::reservation::event what) {
    for (auto& effect : machine_.on(what, hydrogen::now())) std::visit([this](auto& e) { perform(e); }, effect);
    alarm_.set(this, machine_.next_wakeup());
  }

  void perform(gang::reservation_effect::tell_coordinator& e) {
    if (to_coordinator_) to_coordinator_(std::move(e.message));
  }
  void perform(gang::reservation_effect::tell_executor& e) { host_->send(e.executor, std::move(e.message)); }
  void perform(gang::reservation_effect::start_executor& e) { host_->start(e.app, e.executor); }
  void perform(gang::reservation_effect::end_executor& e) { host_->end(e.executor); }
  void perform(gang::reservation_effect::run_over& e) { janitor_.run_is_over(e.run); }
  void perform(gang::reservation_effect::new_boot&) {
    // The connection does not carry the boot, so it serves the new one as well.
    if (to_coordinator_) on(gang::reservation_event::coordinator_connected{});
  }
  void perform(gang::reservation_effect::log_line& e) {
    e.warning ? spdlog::warn("{}", e.text) : spdlog::info("{}", e.text);
  }

  gang::reservation machine_;
  janitor janitor_;
  std::shared_ptr<executor_host> host_;
  channel<gang::from_agent> to_coordinator_;
  alarm alarm_;
};

}  // namespace

agent_handle spawn_agent(process& home, gang::reservation_options options, host_kind kind, host_options host) {
  agent_handle handle;
  handle.actor = home.system().spawn<agent_actor>(std::move(options), host.storage_dir);
  end_process_with(handle.actor, "agent");
  handle.host = kind == host_kind::in_process ? make_in_process_host(home, std::move(host), handle.actor)
                                              : make_child_process_host(home, std::move(host), handle.actor);
  caf::anon_send(handle.actor, host_mail{handle.host});
  return handle;
}

}  // namespace hydrogen::actors
