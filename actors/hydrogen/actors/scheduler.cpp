#include <hydrogen/actors/scheduler.hpp>
#include <hydrogen/base/error.hpp>
#include <hydrogen/comm/cork.hpp>
#include <hydrogen/gpu/device.hpp>

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace hydrogen::actors {
namespace {

using time_point = caf::actor_clock::time_point;

// A helper has work of its own: it runs this much of others', and no actor for longer than so many messages at a time.
constexpr auto help_time = std::chrono::microseconds(200);
constexpr std::size_t help_jobs = 64;
constexpr std::size_t help_messages = 64;
// The worker lets frames go after so many actors, also when more are ready.
constexpr std::size_t worker_batch = 64;

/// The scheduler whose queue this thread will run itself, so that nobody has to be woken for it.
thread_local const scheduler* served_here = nullptr;
thread_local bool may_block = false;
thread_local std::function<void()> lent;

}  // namespace

// ---- delayed messages ----------------------------------------------------------------------------------------------

template <class Change>
void scheduler::alarm_clock::change(Change what) {
  auto next = time_point::max();
  {
    std::lock_guard lock(mutex_);
    what();
    if (!schedule_.empty()) next = schedule_.begin()->first;
  }
  owner_.alarm_at(next);
}

void scheduler::alarm_clock::set_ordinary_timeout(time_point t, caf::abstract_actor* self, caf::atom_value type,
                                                  uint64_t id) {
  change([&] { simple_actor_clock::set_ordinary_timeout(t, self, type, id); });
}
void scheduler::alarm_clock::set_multi_timeout(time_point t, caf::abstract_actor* self, caf::atom_value type,
                                               uint64_t id) {
  change([&] { simple_actor_clock::set_multi_timeout(t, self, type, id); });
}
void scheduler::alarm_clock::set_request_timeout(time_point t, caf::abstract_actor* self, caf::message_id id) {
  change([&] { simple_actor_clock::set_request_timeout(t, self, id); });
}
void scheduler::alarm_clock::cancel_ordinary_timeout(caf::abstract_actor* self, caf::atom_value type) {
  std::lock_guard lock(mutex_);
  simple_actor_clock::cancel_ordinary_timeout(self, type);
}
void scheduler::alarm_clock::cancel_request_timeout(caf::abstract_actor* self, caf::message_id id) {
  std::lock_guard lock(mutex_);
  simple_actor_clock::cancel_request_timeout(self, id);
}
void scheduler::alarm_clock::cancel_timeouts(caf::abstract_actor* self) {
  std::lock_guard lock(mutex_);
  simple_actor_clock::cancel_timeouts(self);
}
void scheduler::alarm_clock::schedule_message(time_point t, caf::strong_actor_ptr to,
                                              caf::mailbox_element_ptr content) {
  change([&] { simple_actor_clock::schedule_message(t, std::move(to), std::move(content)); });
}
void scheduler::alarm_clock::schedule_message(time_point t, caf::group to, caf::strong_actor_ptr sender,
                                              caf::message content) {
  change([&] { simple_actor_clock::schedule_message(t, std::move(to), std::move(sender), std::move(content)); });
}
void scheduler::alarm_clock::cancel_all() {
  std::lock_guard lock(mutex_);
  simple_actor_clock::cancel_all();
}
void scheduler::alarm_clock::ring() {
  change([&] { trigger_expired_timeouts(); });
}

// ---- the queue -----------------------------------------------------------------------------------------------------

scheduler::scheduler(caf::actor_system& system) : abstract_coordinator(system), clock_(*this) {}

scheduler::~scheduler() = default;

caf::actor_system::module* scheduler::make(caf::actor_system& system, caf::detail::type_list<>) {
  return new scheduler(system);
}

caf::actor_clock& scheduler::clock() noexcept {
  return clock_;
}

void scheduler::enqueue(caf::resumable* job) {
  std::unique_lock lock(mutex_);
  ready_.push_back(job);
  if (served_here != this) wake_one(std::move(lock));
}

/// Somebody who sleeps, to run what is ready: rather a thread that waits for it. Nobody when all are awake.
void scheduler::wake_one(std::unique_lock<std::mutex> lock) {
  if (!serving_.empty() && alone_ == 0) {
    auto& waiting = *serving_.back();
    serving_.pop_back();
    waiting.sleeping_ = false;
    waiting.wake_.notify_one();  // under the lock: it may be gone afterwards
    return;
  }
  if (!std::exchange(sleeping_, false)) return;
  lock.unlock();
  wake_.notify_one();
}

void scheduler::alarm_at(time_point next) {
  {
    std::lock_guard lock(mutex_);
    next_alarm_ = std::min(next_alarm_, next);
    if (!sleeping_ || next >= sleeps_until_) return;
    sleeping_ = false;
  }
  wake_.notify_one();
}

caf::resumable* scheduler::take(bool helping) {
  std::lock_guard lock(mutex_);
  if (ready_.empty() || (helping && alone_ > 0)) return nullptr;
  auto* job = ready_.front();
  ready_.pop_front();
  return job;
}

void scheduler::run(caf::resumable* job, unit& here, std::size_t most_messages) {
  switch (job->resume(&here, most_messages)) {
    case caf::resumable::resume_later:
      enqueue(job);
      return;
    case caf::resumable::awaiting_message:
    case caf::resumable::done:
    case caf::resumable::shutdown_execution_unit:
      caf::intrusive_ptr_release(job);
  }
}

// ---- the worker ----------------------------------------------------------------------------------------------------

void scheduler::start() {
  worker_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "hy-actors");
    system().thread_started();
    served_here = this;
    gpu::this_thread_must_not_wait();
    work();
    system().thread_terminates();
  });
  abstract_coordinator::start();
}

void scheduler::work() {
  unit here(*this);
  for (;;) {
    {
      // Frames leave before the worker sleeps.
      const comm::cork together;
      for (std::size_t n = 0; n < worker_batch; ++n) {
        auto* job = take();
        if (job == nullptr) break;
        run(job, here, max_throughput());
      }
    }
    std::unique_lock lock(mutex_);
    if (next_alarm_ <= clock_.now()) {
      next_alarm_ = time_point::max();
      lock.unlock();
      clock_.ring();
      continue;
    }
    if (!ready_.empty()) continue;
    if (stopping_) return;
    sleeping_ = true;
    sleeps_until_ = next_alarm_;
    const auto woken = [this] { return !sleeping_; };
    if (sleeps_until_ == time_point::max()) {
      wake_.wait(lock, woken);
    } else {
      wake_.wait_until(lock, sleeps_until_, woken);
    }
    sleeping_ = false;
  }
}

void scheduler::stop() {
  // Before the worker goes, because they end through it.
  stop_actors();
  {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return helping_ == 0; });
    stopping_ = true;
    sleeping_ = false;
  }
  wake_.notify_one();
  worker_.join();
  clock_.cancel_all();
  while (auto* job = take()) cleanup_and_release(job);
}

// ---- helpers -------------------------------------------------------------------------------------------------------

scheduler::helper::helper(caf::actor_system& system, bool blocks) {
  if (served_here != nullptr) return;
  of_ = static_cast<scheduler*>(&system.scheduler());
  of_->begin_serving(blocks);
}

scheduler::helper::~helper() {
  if (of_ == nullptr) return;
  of_->help();
  of_->end_serving();
}

void scheduler::begin_serving(bool blocks) {
  served_here = this;
  may_block = blocks;
  std::lock_guard lock(mutex_);
  ++helping_;
}

void scheduler::end_serving() {
  served_here = nullptr;
  may_block = false;
  std::lock_guard lock(mutex_);
  if (--helping_ == 0) idle_.notify_all();
}

bool scheduler::lend(std::function<void()> work) {
  if (!may_block || lent) return false;
  lent = std::move(work);
  return true;
}

scheduler::worker_alone::worker_alone(caf::actor_system& system) : of_(static_cast<scheduler&>(system.scheduler())) {
  std::lock_guard lock(of_.mutex_);
  ++of_.alone_;
}

scheduler::worker_alone::~worker_alone() {
  std::lock_guard lock(of_.mutex_);
  --of_.alone_;
}

void scheduler::help() {
  for (;;) {
    help_for_a_while();
    wake_one_if_ready();
    if (!lent) break;
    std::exchange(lent, nullptr)();
  }
}

void scheduler::help_for_a_while() {
  const comm::cork together;
  unit here(*this);
  time_point until{};
  for (std::size_t n = 0; n < help_jobs && !lent; ++n) {
    auto* job = take(true);
    if (job == nullptr) break;
    if (n == 0) until = clock_.now() + help_time;
    run(job, here, help_messages);
    if (clock_.now() >= until) break;
  }
}

void scheduler::wake_one_if_ready() {
  std::unique_lock lock(mutex_);
  if (!ready_.empty()) wake_one(std::move(lock));
}

// ---- threads that wait ---------------------------------------------------------------------------------------------

scheduler::waiter::waiter(caf::actor_system& system) : of_(static_cast<scheduler&>(system.scheduler())) {}

void scheduler::waiter::wait(const std::function<bool()>& there) {
  invariant(served_here == nullptr, "a thread that helps actors waits for them");
  if (there()) return;
  of_.begin_serving(true);
  of_.serve(*this, there);
  of_.wake_one_if_ready();
  of_.end_serving();
}

void scheduler::waiter::notify() {
  std::lock_guard lock(of_.mutex_);
  notified_ = true;
  if (!std::exchange(sleeping_, false)) return;
  std::erase(of_.serving_, this);
  wake_.notify_one();
}

void scheduler::serve(waiter& self, const std::function<bool()>& there) {
  unit here(*this);
  for (;;) {
    {
      const comm::cork together;
      for (std::size_t n = 0; n < worker_batch && !lent && !there(); ++n) {
        auto* job = take(true);
        if (job == nullptr) break;
        run(job, here, help_messages);
      }
    }
    if (lent) {
      wake_one_if_ready();
      std::exchange(lent, nullptr)();
      continue;
    }
    if (there()) return;
    std::unique_lock lock(mutex_);
    if (std::exchange(self.notified_, false) || (!ready_.empty() && alone_ == 0)) continue;
    // What this thread was woken for and may not run.
    if (!ready_.empty() && std::exchange(sleeping_, false)) wake_.notify_one();
    self.sleeping_ = true;
    serving_.push_back(&self);
    self.wake_.wait(lock, [&] { return !self.sleeping_; });
  }
}

}  // namespace hydrogen::actors
