#pragma once
// An actor system with our scheduler alone, for tests of who runs which actor.

#include <hydrogen/actors/scheduler.hpp>

#include "support.hpp"

#include <array>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

namespace hydrogen::test {

using actors::scheduler;

struct do_mail {
  std::function<void()> what;
};

/// A class: CAF binds a reference to null when a function without a state becomes an actor.
struct doer : caf::event_based_actor {
  using event_based_actor::event_based_actor;
  caf::behavior make_behavior() override {
    return {[](const do_mail& mail) { mail.what(); }};
  }
};

/// All threads of this process with this name wait for something.
inline bool sleeps(const std::string& name) {
  bool found = false;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string stat;
    std::getline(std::ifstream(thread.path() / "stat"), stat);
    if (stat.find("(" + name + ") ") == std::string::npos) continue;
    if (stat.find("(" + name + ") S ") == std::string::npos) return false;
    found = true;
  }
  return found;
}

/// An actor system with this scheduler, and actors that do what they are told.
class stage {
 public:
  stage() {
    config_.load<scheduler>();
    system_ = std::make_unique<caf::actor_system>(config_);
    for (auto& actor : all_) {
      actor = system_->spawn<doer>();
    }
  }
  ~stage() {
    if (system_) end_actors();
  }
  caf::actor_system& system() { return *system_; }
  const std::array<caf::actor, 100>& all() const { return all_; }
  void tell(std::size_t actor, std::function<void()> what) { caf::anon_send(all_[actor], do_mail{std::move(what)}); }
  void tell_at(std::size_t actor, time_point when, std::function<void()> what) {
    system_->clock().schedule_message(
        when, caf::actor_cast<caf::strong_actor_ptr>(all_[actor]),
        caf::make_mailbox_element(nullptr, caf::make_message_id(), caf::no_stages, do_mail{std::move(what)}));
  }
  /// It then stays asleep until it is woken: nothing is ready.
  void let_worker_sleep() {
    wait_until("the worker sleeps", [] { return sleeps("hy-actors"); });
  }
  std::thread::id worker() {
    std::promise<std::thread::id> who;
    tell(0, [&] { who.set_value(std::this_thread::get_id()); });
    return who.get_future().get();
  }
  /// Some are kept by messages that are not due.
  void end_actors() {
    for (auto& actor : all_) {
      caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
      actor = nullptr;
    }
  }
  void stop() { system_.reset(); }

 private:
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
  std::array<caf::actor, 100> all_;
};

}  // namespace hydrogen::test

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::test::do_mail)
