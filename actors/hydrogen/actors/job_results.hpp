#pragma once
// What a job has for the thread that runs the application: results and its end, from the job actor, on whichever thread
// that runs.

#include <hydrogen/actors/scheduler.hpp>
#include <hydrogen/job/effect.hpp>

#include <deque>
#include <iterator>
#include <mutex>
#include <utility>
#include <vector>

namespace hydrogen::actors {

class job_results {
 public:
  explicit job_results(caf::actor_system& system) : waiter_(system) {}

  void put(std::vector<job::effect> some) {
    bool first = false;
    {
      std::lock_guard lock(mutex_);
      first = waiting_.empty();
      std::move(some.begin(), some.end(), std::back_inserter(waiting_));
    }
    if (first) waiter_.notify();
  }
  /// All that is there, at least one. Runs actors meanwhile.
  std::deque<job::effect> take() {
    // No deadline of its own: the job machine has one for everything it waits for, and always ends with a result.
    waiter_.wait([this] {
      std::lock_guard lock(mutex_);
      return !waiting_.empty();
    });
    std::lock_guard lock(mutex_);
    return std::exchange(waiting_, {});
  }

 private:
  std::mutex mutex_;
  std::deque<job::effect> waiting_;
  scheduler::waiter waiter_;
};

}  // namespace hydrogen::actors
