#pragma once
// The slot threads of one executor: they run user code, operators and collectives, so that no CAF worker ever does.
//
// Work comes in lanes. A lane is one lease or one gang attempt with k slots: at most k of its tasks run at a time, in
// the order in which they came. The agent never grants more slots than the node has, and takes them back only when a
// lane is idle, so a lane never waits for a thread of another one. All functions: any thread.
//
// Each thread sleeps on a word of its own and is woken with its task in hand, the one that slept last first. Where as
// many are woken at once as there are CPUs, each CPU gets its share of them, and those of other CPUs are woken first:
// Linux wakes a thread where it ran last and looks only after half a millisecond (sched_migration_cost) whether others
// wait there while a CPU is idle, and a thread that is woken on this CPU may take it at once.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/comm/area.hpp>
#include <hydrogen/exec/task.hpp>
#include <hydrogen/gang/execution.hpp>

#include <sched.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace hydrogen::actors {

/// One task on its way through an executor.
struct slot_task : gang::hosted_task {
  explicit slot_task(exec::task t) : hosted_task(t.id, {t.request, t.attempt}), what(std::move(t)) {}
  /// Does the work, on a slot thread; must not throw.
  virtual void run() = 0;
  /// Afterwards, when it counts as running no more; `self` is the pool's reference to this.
  virtual void finish(std::shared_ptr<slot_task> self) = 0;
  exec::task what;
  abort_word abort;
  /// Of a rank that has come to its gang in the memory of the host: a thread that sleeps is not woken for it, but
  /// sleeps on at its gate.
  std::shared_ptr<comm::area> gate;
};
using slot_task_ptr = std::shared_ptr<slot_task>;

class slot_pool : public std::enable_shared_from_this<slot_pool> {
 public:
  class lane;
  using lane_ptr = std::shared_ptr<lane>;

  /// At most `slots` threads, started when first needed.
  static std::shared_ptr<slot_pool> make(std::uint32_t slots);
  ~slot_pool();
  /// The last call. Every lane must have been closed and idle. Waits for the threads, but for the calling one: actors
  /// run on slot threads that help, also the one that ends its pool.
  void stop();
  slot_pool(const slot_pool&) = delete;
  slot_pool& operator=(const slot_pool&) = delete;

  /// `holds`: its tasks wait until `release`.
  lane_ptr open(std::uint32_t slots, bool holds = false);
  /// The lane holds its tasks no longer, and wakes those that sleep at a gate. Again: does nothing more.
  void release(const lane_ptr&);
  /// Takes all of them, in this order. A lane that is closed drops them.
  void push(const lane_ptr&, std::span<slot_task_ptr>);
  /// Takes an unstarted task out of its lane. False: it runs, or ran, or never was there.
  bool withdraw(const lane_ptr&, const exec::task_id&);
  /// Sets the abort word of a running task. False: it does not run.
  bool abort_task(const lane_ptr&, const exec::task_id&, const error& why);
  /// Drops what has not started, aborts what runs, and calls `idle` (once, perhaps at once on this thread) when nothing
  /// of the lane runs any more.
  void close(const lane_ptr&, const error& why, std::function<void()> idle);

  /// What runs in the lane now, for messages: "digits: stage 2, train, rank 3".
  std::vector<std::string> running(const lane_ptr&);

 private:
  explicit slot_pool(std::uint32_t slots);
  struct worker {
    std::atomic<std::uint32_t> signal{0};  // futex: `woken` when `task` is there, or the end
    lane_ptr from;
    slot_task_ptr task;
    pid_t id = 0;
    int cpu = 0;                           // where it ran last
    std::optional<cpu_set_t> before_move;  // it was put on one CPU, and may then use these again
    std::thread thread;
  };
  void work(worker&);
  static bool take(worker&, lane_ptr);
  /// Finds a thread for one more task of the lane, if it may run one; under the mutex.
  void find_thread(const lane_ptr&, std::vector<worker*>& wake);
  static void send_to_gate(worker&);
  void wake_up(std::vector<worker*>&) const;
  void spread(std::vector<worker*>& woken) const;

  const std::uint32_t slots_;
  std::vector<int> cpus_;  // that this process may use
  std::mutex mutex_;
  std::deque<lane_ptr> ready_;  // a lane stands here once for each of its slots that may take a task
  std::vector<worker*> sleeping_;
  std::deque<worker> workers_;
  bool stopping_ = false;
};

}  // namespace hydrogen::actors
