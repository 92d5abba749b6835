#pragma once
// Runs the actors of a process: one worker thread, asleep when nothing is to do, and *helpers*: threads that have just
// woken actors and have nothing better to do run them at once instead of waking the worker. A hop between two threads
// costs more than most of what our actors do.
//
// A thread that waits for what actors will tell it serves them meanwhile (`waiter`), in place of the worker: it would
// be woken by one of them in the end, and so is woken once.
//
// An actor may so run on any thread that helps or serves, though never on two at a time. It must not block, and must
// not wait for a thread that may be helping. The worker also keeps the clock of delayed messages: there is no thread
// for that.

#include <caf/all.hpp>
#include <caf/detail/simple_actor_clock.hpp>
#include <caf/scheduler/abstract_coordinator.hpp>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace hydrogen::actors {

class scheduler final : public caf::scheduler::abstract_coordinator {
 public:
  explicit scheduler(caf::actor_system&);
  ~scheduler() override;

  /// `actor_system_config::load<scheduler>()`.
  static caf::actor_system::module* make(caf::actor_system&, caf::detail::type_list<>);

  /// While one is open, actors that this thread wakes wait for its end, and then run here: for about 200 us, what is
  /// left is the worker's. Frames that they send leave together (`comm::cork`). Nested ones do nothing. Hold no lock
  /// where it closes. The system must stay until it is open; stopping the system waits until it is closed.
  class helper {
   public:
    /// `may_block`: this thread has nothing else to do for long, so it also takes what is lent to it.
    explicit helper(caf::actor_system&, bool may_block = false);
    ~helper();
    helper(const helper&) = delete;
    helper& operator=(const helper&) = delete;

   private:
    scheduler* of_ = nullptr;  // null: nested
  };

  /// For one thread at a time, outside of helpers.
  class waiter {
   public:
    /// The system must outlive it.
    explicit waiter(caf::actor_system&);
    /// Until `there()` holds; it is asked after each actor that ran here, and after each `notify`. Takes what is lent.
    void wait(const std::function<bool()>& there);
    /// Any thread, also in an actor that runs on the waiting one.
    void notify();
    waiter(const waiter&) = delete;
    waiter& operator=(const waiter&) = delete;

   private:
    friend class scheduler;
    scheduler& of_;
    // Under the scheduler's mutex:
    std::condition_variable wake_;
    bool sleeping_ = false;
    bool notified_ = false;
  };

  /// For an actor: work that blocks, such as a sync, at once on the thread that runs this actor, if it may block and
  /// has not been lent work already; the worker goes on with other actors meanwhile. False: it has to run elsewhere.
  static bool lend(std::function<void()>);

  /// While one is open, helpers leave everything to the worker: a test that keeps the worker busy then keeps all actors
  /// of the process from running.
  class worker_alone {
   public:
    explicit worker_alone(caf::actor_system&);
    ~worker_alone();
    worker_alone(const worker_alone&) = delete;
    worker_alone& operator=(const worker_alone&) = delete;

   private:
    scheduler& of_;
  };

  // ---- for CAF ----
  void start() override;
  void stop() override;
  void enqueue(caf::resumable*) override;
  caf::actor_clock& clock() noexcept override;

 private:
  /// Delayed messages, on the worker's time. Any thread.
  class alarm_clock final : public caf::detail::simple_actor_clock {
   public:
    explicit alarm_clock(scheduler& owner) : owner_(owner) {}
    void set_ordinary_timeout(time_point, caf::abstract_actor*, caf::atom_value, uint64_t) override;
    void set_multi_timeout(time_point, caf::abstract_actor*, caf::atom_value, uint64_t) override;
    void set_request_timeout(time_point, caf::abstract_actor*, caf::message_id) override;
    void cancel_ordinary_timeout(caf::abstract_actor*, caf::atom_value) override;
    void cancel_request_timeout(caf::abstract_actor*, caf::message_id) override;
    void cancel_timeouts(caf::abstract_actor*) override;
    void schedule_message(time_point, caf::strong_actor_ptr, caf::mailbox_element_ptr) override;
    void schedule_message(time_point, caf::group, caf::strong_actor_ptr, caf::message) override;
    void cancel_all() override;
    /// Sends what is due.
    void ring();

   private:
    template <class Change>
    void change(Change);
    scheduler& owner_;
    // Dropping an event may end an actor, which cancels what it had set.
    std::recursive_mutex mutex_;
  };

  /// Whoever runs an actor: what that wakes stands in the same queue.
  class unit final : public caf::execution_unit {
   public:
    explicit unit(scheduler& owner) : execution_unit(&owner.system()), owner_(owner) {}
    void exec_later(caf::resumable* job) override { owner_.enqueue(job); }

   private:
    scheduler& owner_;
  };

  void work();
  caf::resumable* take(bool helping = false);
  void run(caf::resumable*, unit&, std::size_t most_messages);
  void begin_serving(bool may_block);
  void end_serving();
  void help();
  void help_for_a_while();
  void serve(waiter&, const std::function<bool()>& there);
  void wake_one(std::unique_lock<std::mutex>);
  void wake_one_if_ready();
  void alarm_at(caf::actor_clock::time_point);

  alarm_clock clock_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<caf::resumable*> ready_;  // each holds a reference
  std::vector<waiter*> serving_;       // that sleep
  bool sleeping_ = false;              // the worker
  caf::actor_clock::time_point sleeps_until_{};
  caf::actor_clock::time_point next_alarm_ = caf::actor_clock::time_point::max();
  bool stopping_ = false;
  std::size_t alone_ = 0;  // open `worker_alone`s
  std::size_t helping_ = 0;
  std::condition_variable idle_;  // of helpers
  std::thread worker_;
};

}  // namespace hydrogen::actors
