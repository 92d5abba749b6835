#include <hydrogen/actors/slot_pool.hpp>

#include <pthread.h>

#include <algorithm>
#include <system_error>
#include <utility>

namespace hydrogen::actors {
namespace {

// What a worker's signal says. It sleeps while that is `asleep`; `at_gate`: it has a task, and may sleep on at its
// gate.
constexpr std::uint32_t asleep = 0, woken = 1, at_gate = 2;

}  // namespace

class slot_pool::lane {
 public:
  lane(std::uint32_t slots, bool holds) : slots(slots), holds(holds) {}
  const std::uint32_t slots;
  std::uint32_t claimed = 0;  // slots that run a task or stand in `ready_`
  bool holds = false;
  bool closed = false;
  std::deque<slot_task_ptr> queue;
  std::vector<slot_task_ptr> running;
  std::function<void()> idle;
};

void slot_pool::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  for (auto& w : workers_) wake(w);
  for (auto& w : workers_) {
    if (w.thread.joinable()) w.thread.join();
  }
}

slot_pool::lane_ptr slot_pool::open(std::uint32_t slots, bool holds) {
  std::lock_guard lock(mutex_);
  slots_ += slots;
  return std::make_shared<lane>(slots, holds);
}

/// The first task of the lane's queue becomes that of the worker. False: there is none.
bool slot_pool::take(worker& w, lane_ptr from) {
  if (from->queue.empty()) return false;
  w.task = std::move(from->queue.front());
  from->queue.pop_front();
  from->running.push_back(w.task);
  w.from = std::move(from);
  return true;
}

void slot_pool::push(const lane_ptr& to, std::span<slot_task_ptr> tasks) {
  workers woken;
  {
    std::lock_guard lock(mutex_);
    if (to->closed) return;
    for (auto& task : tasks) {
      to->queue.push_back(std::move(task));
      if (!to->holds) make_ready(to, woken);
    }
    call_threads(woken);
  }
  wake_up(woken);
}

void slot_pool::release(const lane_ptr& which) {
  workers woken;
  std::vector<std::shared_ptr<comm::area>> gates;
  {
    std::lock_guard lock(mutex_);
    for (const auto& task : which->running) {
      if (task->gate) gates.push_back(task->gate);
    }
    if (std::exchange(which->holds, false)) {
      for (auto left = which->queue.size(); left > 0; --left) make_ready(which, woken);
      call_threads(woken);
    }
  }
  for (const auto& gate : gates) gate->wake();
  wake_up(woken);
}

/// The lane may take one more of its tasks, if it has a slot for it. One that will sleep at a gate gets its thread now.
void slot_pool::make_ready(const lane_ptr& which, workers& woken) {
  if (which->claimed == which->slots) return;
  ++which->claimed;
  if (sleeping_.empty() || !which->queue.front()->gate) {
    ready_.push_back(which);
    return;
  }
  auto& one = *woken.emplace_back(sleeping_.back());
  sleeping_.pop_back();
  take(one, which);
  one.gate = one.task->gate;
  at_gates_.push_back(&one);
}

/// One that has been woken at its gate, and has not come to its task yet. Null: none.
slot_pool::worker* slot_pool::woken_at_gate() const {
  const auto at = std::find_if(at_gates_.begin(), at_gates_.end(), [](auto* w) { return w->gate->has_news(); });
  return at == at_gates_.end() ? nullptr : *at;
}

void slot_pool::take_over(worker& w, worker& from) {
  w.from = std::move(from.from);
  w.task = std::move(from.task);
  std::erase(at_gates_, &from);
}

void slot_pool::call_threads(workers& woken) {
  while (on_their_way_ < std::min(cpus_, ready_.size())) {
    worker* one = nullptr;
    if (!sleeping_.empty()) {
      one = woken.emplace_back(sleeping_.back());
      sleeping_.pop_back();
    } else if (!(one = start_thread())) {
      return;
    }
    one->on_its_way = true;
    ++on_their_way_;
  }
}

/// Null: those that are there will come in time. Throws if there are none.
slot_pool::worker* slot_pool::start_thread() {
  if (stopping_ || workers_.size() - finishing_ >= slots_) return nullptr;  // one is about to come
  auto& one = workers_.emplace_back();
  try {
    one.thread = std::thread([this, &one] { work(one); });
  } catch (const std::system_error&) {
    workers_.pop_back();
    if (workers_.empty()) throw;
    return nullptr;
  }
  return &one;
}

void slot_pool::wake(worker& w) {
  w.signal.store(woken, std::memory_order_release);
  futex_wake_all(w.signal, futex_reach::host);
}

void slot_pool::wake_up(workers& all) const {
  std::erase_if(all, [](auto* w) {
    const bool sleeps_on = !w->on_its_way && w->gate->expect_sleeper();
    if (sleeps_on) send_to_gate(*w);
    return sleeps_on;
  });
  for (auto* w : all) wake(*w);
}

void slot_pool::send_to_gate(worker& w) {
  const auto gate = w.gate;  // once the signal is stored, the thread may be on
  w.signal.store(at_gate, std::memory_order_release);
  gate->move_sleeper(w.signal, at_gate);
}

bool slot_pool::withdraw(const lane_ptr& from, const exec::task_id& id) {
  slot_task_ptr taken;  // goes without the lock: a rank leaves its gang then
  std::lock_guard lock(mutex_);
  const auto at = std::find_if(from->queue.begin(), from->queue.end(), [&](const auto& t) { return t->id == id; });
  if (at == from->queue.end()) return false;
  taken = std::move(*at);
  from->queue.erase(at);
  return true;
}

bool slot_pool::abort_task(const lane_ptr& in, const exec::task_id& id, const error& why) {
  slot_task_ptr task;
  {
    std::lock_guard lock(mutex_);
    const auto at = std::find_if(in->running.begin(), in->running.end(), [&](const auto& t) { return t->id == id; });
    if (at == in->running.end()) return false;
    task = *at;
  }
  task->abort.set(why);
  return true;
}

void slot_pool::close(const lane_ptr& which, const error& why, std::function<void()> idle) {
  std::deque<slot_task_ptr> dropped;
  std::vector<slot_task_ptr> running;
  bool idle_now = false;
  {
    std::lock_guard lock(mutex_);
    if (which->closed) return;
    which->closed = true;
    dropped.swap(which->queue);
    running = which->running;
    idle_now = running.empty();
    if (idle_now)
      slots_ -= which->slots;
    else
      which->idle = std::move(idle);
  }
  for (auto& task : running) task->abort.set(why);
  if (idle_now) idle();
}

std::vector<std::string> slot_pool::running(const lane_ptr& in) {
  std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const auto& task : in->running) {
    const auto& what = task->what;
    names.push_back(what.label + (what.rank ? ", rank " : ", partition ") + std::to_string(what.id.partition));
  }
  return names;
}

void slot_pool::work(worker& self) {
  pthread_setname_np(pthread_self(), "slot");
  std::unique_lock lock(mutex_, std::defer_lock);
  workers next;
  bool ended = false;
  for (;;) {
    while (self.task) {
      const auto from = std::move(self.from);
      auto task = std::move(self.task);
      task->run();
      lock.lock();
      auto& running = from->running;
      std::swap(*std::find(running.begin(), running.end(), task), running.back());
      running.pop_back();
      std::function<void()> idle;
      if (!take(self, from)) {
        --from->claimed;
        if (from->closed && running.empty()) {
          idle.swap(from->idle);
          slots_ -= from->slots;
        }
      }
      if (!self.task) ++finishing_;
      const bool others_wait = !ready_.empty() || woken_at_gate() != nullptr;
      lock.unlock();
      auto& finished = *task;
      finished.finish(std::move(task), others_wait);
      if (idle) idle();
      if (!self.task) ended = true;
    }
    lock.lock();
    if (std::exchange(ended, false)) --finishing_;
    while (!self.task && !ready_.empty()) {
      const auto from = std::move(ready_.front());
      ready_.pop_front();
      if (!take(self, from)) --from->claimed;
    }
    if (auto* late = self.task ? nullptr : woken_at_gate()) take_over(self, *late);
    if (std::exchange(self.on_its_way, false)) --on_their_way_;
    call_threads(next);
    if (self.task) {
      lock.unlock();
      wake_up(next);
      next.clear();
      continue;
    }
    if (stopping_) return;
    self.signal.store(asleep, std::memory_order_relaxed);
    sleeping_.push_back(&self);
    lock.unlock();
    while (self.signal.load(std::memory_order_acquire) == asleep) {
      futex_wait(self.signal, asleep, never, futex_reach::host);
    }
    if (self.gate) {
      if (self.signal.load(std::memory_order_relaxed) == at_gate) self.gate->sleeper_woke();
      lock.lock();
      std::erase(at_gates_, &self);
      self.gate = nullptr;
      lock.unlock();
    }
  }
}

}  // namespace hydrogen::actors
