#pragma once
// Actors that have work done on queues of their own of one device, and hear of it by mail. Main thread.

#include <hydrogen/actors/device_queue.hpp>
#include <hydrogen/base/clock.hpp>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace hydrogen::bench {

/// What an actor saw of what it had done, for each round.
struct launch_times {
  std::vector<double> enqueue_us;  // until the work was enqueued, and the mail ordered that tells of its end
  std::vector<double> trip_us;     // until that mail was there
  std::vector<time_point> told;    // when it was
};

class launching_actors {
 public:
  /// Rounds count from 1.
  using action = std::function<void(gpu::stream&, std::uint64_t round)>;

  launching_actors(const std::shared_ptr<gpu::device>&, std::size_t count);
  ~launching_actors();
  launching_actors(const launching_actors&) = delete;

  /// Actor i does `each[i]` so many times, each time when it has heard that the last one is done; all of them at a
  /// time. Throws `failure`: what an action threw, or why its queue failed; timed_out.
  std::vector<launch_times> run(const std::vector<action>& each, std::uint64_t rounds);

 private:
  void finished(std::size_t actor, launch_times, const error& why);

  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
  std::vector<actors::device_queue_ptr> queues_;
  std::vector<caf::actor> actors_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // Under the mutex:
  std::vector<launch_times> times_;
  std::size_t running_ = 0;
  error failed_{errc::none, {}, {}, {}};
};

}  // namespace hydrogen::bench
