#pragma once
// The slot threads of a process: they run user code, operators and collectives, so that no CAF worker ever does.
//
// Work comes in lanes. A lane is one lease or one gang attempt with k slots: at most k of its tasks run at a time, in
// the order in which they came. There are threads for the slots of all lanes, so a lane never waits for a thread of
// another one. All functions: any thread, unless they say more.
//
// Tasks that may run stand in one queue. Not more threads are on their way to it than there are CPUs: who comes takes a
// task, wakes the next one if more are left, and only then begins. So where CPUs are free all tasks begin at once;
// where they are not, a thread that is woken comes when another one blocks, ends or has had its share, and until then
// those that run short tasks run one after the other, without a thread to be woken for each (the kernel's workqueues do
// the same: Documentation/core-api/workqueue.rst, "Concurrency Managed Workqueues"). The thread that slept last is
// woken first. Ranks whose threads sleep at gates in memory of the host are woken there; whoever is awake by then takes
// over those that have not come yet.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/base/cpus.hpp>
#include <hydrogen/comm/area.hpp>
#include <hydrogen/exec/task.hpp>
#include <hydrogen/gang/execution.hpp>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
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
  /// Afterwards, when it counts as running no more; `self` is the pool's reference to this. `others_wait`: for threads.
  virtual void finish(std::shared_ptr<slot_task> self, bool others_wait) = 0;
  exec::task what;
  abort_word abort;
  /// Of a rank that has come to its gang in the memory of the host: a thread that sleeps is not woken for it, but
  /// sleeps on at its gate.
  std::shared_ptr<comm::area> gate;
};
using slot_task_ptr = std::shared_ptr<slot_task>;

class slot_pool {
 public:
  class lane;
  using lane_ptr = std::shared_ptr<lane>;

  slot_pool() = default;
  ~slot_pool() { stop(); }
  /// The last call that has effect: waits for the threads, which first do what is ready. Not on one of them. Again:
  /// does nothing.
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
  /// Under the mutex, but for the signal; of one that was taken out of `sleeping_`, and has not been sent its signal,
  /// by who took it.
  struct worker {
    std::atomic<std::uint32_t> signal{0};  // futex
    lane_ptr from;                         // of its task
    slot_task_ptr task;
    std::shared_ptr<comm::area> gate;  // at which it sleeps, or has been woken
    bool on_its_way = false;           // to `ready_`
    std::thread thread;
  };
  using workers = std::vector<worker*>;
  void work(worker&);
  static bool take(worker&, lane_ptr);
  void take_over(worker&, worker& from);
  static void send_to_gate(worker&);
  static void wake(worker&);
  // Under the mutex; those that they add are to be woken, without it.
  void make_ready(const lane_ptr&, workers& woken);
  void call_threads(workers& woken);
  worker* woken_at_gate() const;
  worker* start_thread();
  // Without it.
  void wake_up(workers&) const;

  const std::size_t cpus_ = usable_cpus();
  std::mutex mutex_;
  std::deque<lane_ptr> ready_;  // a lane stands here once for each of its slots that may take a task
  std::size_t on_their_way_ = 0;
  std::size_t finishing_ = 0;  // threads whose task has ended, and that may be running actors
  std::size_t slots_ = 0;      // of all lanes that are open
  workers sleeping_;
  workers at_gates_;
  std::deque<worker> workers_;
  bool stopping_ = false;
};

}  // namespace hydrogen::actors
