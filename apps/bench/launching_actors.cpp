#include "launching_actors.hpp"

#include <hydrogen/actors/scheduler.hpp>

#include "bench.hpp"
#include <spdlog/fmt/fmt.h>

#include <utility>

namespace hydrogen::bench {
namespace {

struct launch_mail {
  actors::device_queue_ptr on;
  launching_actors::action what;
  std::uint64_t rounds = 0;
};

}  // namespace
}  // namespace hydrogen::bench

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::bench::launch_mail)

namespace hydrogen::bench {
namespace {

class launcher : public caf::event_based_actor {
 public:
  using listener = std::function<void(launch_times, const error&)>;
  launcher(caf::actor_config& cfg, listener tell) : event_based_actor(cfg), tell_(std::move(tell)) {}

  caf::behavior make_behavior() override {
    return {[this](const launch_mail& m) {
              mail_ = m;
              round_ = 0;
              go();
            },
            [this](const actors::device_done& m) {
              const auto told = hydrogen::now();
              times_.told.push_back(told);
              times_.trip_us.push_back(microseconds(told - begun_));
              if (m.why.code != errc::none || round_ == mail_.rounds) return end(m.why);
              go();
            },
            [this](const actors::stop_mail&) { quit(); }};
  }

 private:
  void go() {
    ++round_;
    begun_ = hydrogen::now();
    try {
      mail_.what(mail_.on->stream(), round_);
    } catch (const failure& f) {
      return end(f.reason());
    }
    mail_.on->notify(caf::actor_cast<caf::actor>(this), 0);
    times_.enqueue_us.push_back(microseconds(hydrogen::now() - begun_));
  }

  void end(const error& why) {
    mail_ = {};
    tell_(std::exchange(times_, {}), why);
  }

  listener tell_;
  launch_mail mail_;
  std::uint64_t round_ = 0;
  time_point begun_;
  launch_times times_;
};

}  // namespace

launching_actors::launching_actors(const std::shared_ptr<gpu::device>& device, std::size_t count) {
  config_.load<actors::scheduler>();
  system_ = std::make_unique<caf::actor_system>(config_);
  for (std::size_t i = 0; i < count; ++i) {
    queues_.push_back(std::make_shared<actors::device_queue>(
        value_or_throw(device->make_stream(fmt::format("actor {}", i))), *system_));
    actors_.push_back(system_->spawn<launcher>(
        [this, i](launch_times times, const error& why) { finished(i, std::move(times), why); }));
  }
}

launching_actors::~launching_actors() {
  for (const auto& a : actors_) caf::anon_send(a, actors::stop_mail{});
}

std::vector<launch_times> launching_actors::run(const std::vector<action>& each, std::uint64_t rounds) {
  std::unique_lock lock(mutex_);
  times_.assign(each.size(), {});
  running_ = each.size();
  for (std::size_t i = 0; i < each.size(); ++i) caf::anon_send(actors_[i], launch_mail{queues_[i], each[i], rounds});
  if (!changed_.wait_for(lock, std::chrono::minutes(5), [&] { return running_ == 0; })) {
    throw failure({errc::timed_out, "actors have not heard of the end of their work in 5 minutes", {}, {}});
  }
  if (failed_.code != errc::none) throw failure(failed_);
  return std::exchange(times_, {});
}

void launching_actors::finished(std::size_t actor, launch_times times, const error& why) {
  const std::lock_guard lock(mutex_);
  times_[actor] = std::move(times);
  if (why.code != errc::none) failed_ = why;
  if (--running_ == 0) changed_.notify_one();
}

}  // namespace hydrogen::bench
