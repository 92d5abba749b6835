#pragma once
// The slot threads of one executor: they run user code, operators and collectives, so that no CAF worker ever does.
//
// Work comes in lanes. A lane is one lease or one gang attempt with k slots: at most k of its tasks run at a time, in
// the order in which they came. The agent never grants more slots than the node has, and takes them back only when a
// lane is idle, so a lane never waits for a thread of another one. All functions: any thread.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/exec/task.hpp>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace hydrogen::actors {

/// One task on its way through an executor.
struct slot_task {
  exec::task what;
  abort_word abort;
  /// Runs on a slot thread; must not throw.
  std::function<void(slot_task&)> run;
};
using slot_task_ptr = std::shared_ptr<slot_task>;

class slot_pool {
 public:
  class lane;
  using lane_ptr = std::shared_ptr<lane>;

  /// At most `slots` threads, started when first needed.
  explicit slot_pool(std::uint32_t slots);
  /// Every lane must have been closed and idle; joins the threads.
  ~slot_pool();
  slot_pool(const slot_pool&) = delete;
  slot_pool& operator=(const slot_pool&) = delete;

  lane_ptr open(std::uint32_t slots);
  /// False if the lane is closed: the task is not taken.
  bool push(const lane_ptr&, slot_task_ptr);
  /// Takes an unstarted task out of its lane. False: it runs, or ran, or never was there.
  bool withdraw(const lane_ptr&, const exec::task_id&);
  /// Sets the abort word of a running task. False: it does not run.
  bool abort_task(const lane_ptr&, const exec::task_id&, const error& why);
  /// Drops what has not started, aborts what runs, and calls `idle` (once, perhaps at once on this thread) when nothing
  /// of the lane runs any more. Returns the dropped tasks.
  std::vector<slot_task_ptr> close(const lane_ptr&, const error& why, std::function<void()> idle);

  /// What runs in the lane now, for messages: "digits: stage 2, train, rank 3".
  std::vector<std::string> running(const lane_ptr&);

 private:
  void work();

  const std::uint32_t slots_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<lane_ptr> ready_;  // a lane stands here once for each of its slots that may take a task
  std::uint32_t sleeping_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace hydrogen::actors
