#include <hydrogen/actors/executor.hpp>
#include <hydrogen/actors/executor_host.hpp>

#include <condition_variable>
#include <mutex>
#include <unordered_map>

namespace hydrogen::actors {
namespace {

class in_process_host final : public executor_host {
 public:
  in_process_host(process& home, host_options options, caf::actor agent)
      : home_(home), options_(std::move(options)), state_(std::make_shared<shared_state>()) {
    state_->agent = std::move(agent);
  }

  void start(const gang::application_ref& app, boot_id boot) override {
    {
      std::lock_guard lock(state_->mutex);
      if (state_->stopping) {
        caf::anon_send(
            state_->agent,
            executor_failed_mail{
                app.run, boot, gang::refusal_kind::executor, {errc::cancelled, "the node ends", options_.node, {}}});
        return;
      }
    }
    executor_options options;
    options.app = app;
    options.boot = boot;
    options.node = options_.node;
    options.block_budget = options_.block_budget;
    options.storage_dir = options_.storage_dir;
    options.hang_limit = options_.hang_limit;
    options.gpus = options_.gpus;
    options.to_agent = [state = state_, boot](gang::from_executor&& m) {
      caf::anon_send(state->agent, executor_news_mail{boot, through_codec(std::move(m))});
    };
    auto actor = spawn_executor(home_, std::move(options));
    {
      std::lock_guard lock(state_->mutex);
      state_->executors[boot] = actor;
    }
    actor->attach_functor([state = state_, boot, run = app.run](const caf::error&) {
      {
        std::lock_guard lock(state->mutex);
        state->executors.erase(boot);
      }
      state->ended.notify_all();
      caf::anon_send(state->agent, executor_died_mail{run, boot, "ended"});
    });
    caf::anon_send(state_->agent, executor_ready_mail{app.run, boot, home_.endpoint()});
  }

  void send(boot_id to, gang::to_executor&& message) override {
    std::lock_guard lock(state_->mutex);
    const auto at = state_->executors.find(to);
    if (at != state_->executors.end()) caf::anon_send(at->second, attempt_mail{through_codec(std::move(message))});
  }

  void end(boot_id which) override {
    std::lock_guard lock(state_->mutex);
    const auto at = state_->executors.find(which);
    if (at != state_->executors.end()) caf::anon_send(at->second, stop_mail{});
  }

  void shut_down(duration limit) override {
    std::unique_lock lock(state_->mutex);
    state_->stopping = true;
    for (auto& [boot, actor] : state_->executors) caf::anon_send(actor, stop_mail{});
    state_->ended.wait_for(lock, limit, [this] { return state_->executors.empty(); });
    // One that hangs has ended the process by then (executor_options::hang_limit).
  }

 private:
  struct shared_state {
    caf::actor agent;
    std::mutex mutex;
    std::condition_variable ended;
    bool stopping = false;
    std::unordered_map<boot_id, caf::actor> executors;
  };
  process& home_;
  const host_options options_;
  std::shared_ptr<shared_state> state_;
};

}  // namespace

std::unique_ptr<executor_host> make_in_process_host(process& home, host_options options, caf::actor agent) {
  return std::make_unique<in_process_host>(home, std::move(options), std::move(agent));
}

}  // namespace hydrogen::actors
