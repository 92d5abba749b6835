#include <hydrogen/actors/slot_pool.hpp>

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>

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

slot_pool::slot_pool(std::uint32_t slots) : slots_(slots) {
  cpu_set_t mine;
  if (::sched_getaffinity(0, sizeof mine, &mine) != 0) return;  // there are more than 1024
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &mine)) cpus_.push_back(cpu);
  }
}

std::shared_ptr<slot_pool> slot_pool::make(std::uint32_t slots) {
  return std::shared_ptr<slot_pool>(new slot_pool(slots));
}

slot_pool::~slot_pool() = default;

void slot_pool::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  for (auto& w : workers_) {
    w.signal.store(woken, std::memory_order_release);
    futex_wake_all(w.signal, futex_reach::host);
  }
  for (auto& w : workers_) {
    if (w.thread.get_id() == std::this_thread::get_id())
      w.thread.detach();  // it holds the pool until it returns
    else
      w.thread.join();
  }
}

slot_pool::lane_ptr slot_pool::open(std::uint32_t slots, bool holds) {
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
  std::vector<worker*> wake;
  {
    std::lock_guard lock(mutex_);
    if (to->closed) return;
    for (auto& task : tasks) {
      to->queue.push_back(std::move(task));
      if (!to->holds) find_thread(to, wake);
    }
  }
  wake_up(wake);
}

void slot_pool::release(const lane_ptr& which) {
  std::vector<worker*> wake;
  std::vector<std::shared_ptr<comm::area>> gates;
  {
    std::lock_guard lock(mutex_);
    for (const auto& task : which->running) {
      if (task->gate) gates.push_back(task->gate);
    }
    if (std::exchange(which->holds, false)) {
      for (auto left = which->queue.size(); left > 0; --left) find_thread(which, wake);
    }
  }
  for (const auto& gate : gates) gate->wake();
  wake_up(wake);
}

void slot_pool::find_thread(const lane_ptr& of, std::vector<worker*>& wake) {
  if (of->claimed == of->slots) return;
  ++of->claimed;
  if (!sleeping_.empty()) {
    wake.push_back(sleeping_.back());
    sleeping_.pop_back();
    take(*wake.back(), of);
  } else if (workers_.size() < slots_) {
    auto& w = workers_.emplace_back();
    take(w, of);
    try {
      w.thread = std::thread([self = shared_from_this(), &w] { self->work(w); });
    } catch (const std::system_error&) {
      // The system gives no more threads: those that are there take it in time, if there are any.
      of->queue.push_front(std::move(w.task));
      of->running.pop_back();
      workers_.pop_back();
      if (workers_.empty()) {
        --of->claimed;
        throw;
      }
      ready_.push_back(of);
    }
  } else {
    ready_.push_back(of);
  }
}

void slot_pool::wake_up(std::vector<worker*>& wake) const {
  std::erase_if(wake, [](auto* w) {
    const bool sleeps_on = w->task->gate && w->task->gate->expect_sleeper();
    if (sleeps_on) send_to_gate(*w);
    return sleeps_on;
  });
  if (cpus_.size() > 1 && wake.size() >= cpus_.size()) spread(wake);
  for (auto* w : wake) {
    w->signal.store(woken, std::memory_order_release);
    futex_wake_all(w->signal, futex_reach::host);
  }
}

void slot_pool::send_to_gate(worker& w) {
  const auto gate = w.task->gate;  // once the signal is stored, the thread may take its task
  w.signal.store(at_gate, std::memory_order_release);
  gate->move_sleeper(w.signal, at_gate);
}

/// Few have to be moved: they stay where they are from then on.
void slot_pool::spread(std::vector<worker*>& woken) const {
  const auto share = (woken.size() + cpus_.size() - 1) / cpus_.size();
  std::vector<std::size_t> there(cpus_.size());
  std::vector<worker*> too_many;
  for (auto* w : woken) {
    const auto at = static_cast<std::size_t>(std::lower_bound(cpus_.begin(), cpus_.end(), w->cpu) - cpus_.begin());
    const bool stays = at < there.size() && there[at] < share;
    stays ? void(++there[at]) : too_many.push_back(w);
  }
  for (auto* w : too_many) {
    const auto to = std::min_element(there.begin(), there.end());
    ++*to;
    const auto cpu = cpus_[static_cast<std::size_t>(to - there.begin())];
    cpu_set_t all, one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    // User code may have said where the thread is to run.
    if (::sched_getaffinity(w->id, sizeof all, &all) != 0 || !CPU_ISSET(cpu, &all)) continue;
    if (::sched_setaffinity(w->id, sizeof one, &one) != 0) continue;
    w->before_move = all;
    w->cpu = cpu;
  }
  std::stable_partition(woken.begin(), woken.end(),
                        [here = ::sched_getcpu()](const auto* w) { return w->cpu != here; });
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
    if (!idle_now) which->idle = std::move(idle);
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
  self.id = ::gettid();
  std::unique_lock lock(mutex_, std::defer_lock);
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
        if (from->closed && running.empty()) idle.swap(from->idle);
      }
      lock.unlock();
      auto& finished = *task;
      finished.finish(std::move(task));
      if (idle) idle();
    }
    lock.lock();
    while (!self.task && !ready_.empty()) {
      const auto from = std::move(ready_.front());
      ready_.pop_front();
      if (!take(self, from)) --from->claimed;
    }
    if (!self.task) {
      if (stopping_) return;
      self.signal.store(asleep, std::memory_order_relaxed);
      self.cpu = ::sched_getcpu();
      sleeping_.push_back(&self);
      lock.unlock();
      while (self.signal.load(std::memory_order_acquire) == asleep) {
        futex_wait(self.signal, asleep, never, futex_reach::host);
      }
      if (self.signal.load(std::memory_order_relaxed) == at_gate) self.task->gate->sleeper_woke();
      if (const auto all = std::exchange(self.before_move, std::nullopt)) ::sched_setaffinity(0, sizeof *all, &*all);
      if (!self.task) return;
    } else {
      lock.unlock();
    }
  }
}

}  // namespace hydrogen::actors
