#include <hydrogen/actors/slot_pool.hpp>

#include <algorithm>

namespace hydrogen::actors {

class slot_pool::lane {
 public:
  explicit lane(std::uint32_t slots) : slots(slots) {}
  const std::uint32_t slots;
  std::uint32_t claimed = 0;  // slots that run a task or stand in `ready_`
  bool closed = false;
  std::deque<slot_task_ptr> queue;
  std::vector<slot_task_ptr> running;
  std::function<void()> idle;
};

slot_pool::slot_pool(std::uint32_t slots) : slots_(slots) {}

slot_pool::~slot_pool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

slot_pool::lane_ptr slot_pool::open(std::uint32_t slots) {
  return std::make_shared<lane>(slots);
}

bool slot_pool::push(const lane_ptr& to, slot_task_ptr task) {
  bool notify = false;
  {
    std::lock_guard lock(mutex_);
    if (to->closed) return false;
    to->queue.push_back(std::move(task));
    if (to->claimed < to->slots) {
      ++to->claimed;
      ready_.push_back(to);
      // A sleeping thread that was woken but has not run yet still counts as sleeping: compare with all that is ready.
      if (ready_.size() <= sleeping_) {
        notify = true;
      } else if (threads_.size() < slots_) {
        threads_.emplace_back([this] { work(); });
      }
    }
  }
  if (notify) wake_.notify_one();
  return true;
}

bool slot_pool::withdraw(const lane_ptr& from, const exec::task_id& id) {
  std::lock_guard lock(mutex_);
  const auto at = std::find_if(from->queue.begin(), from->queue.end(), [&](const auto& t) { return t->what.id == id; });
  if (at == from->queue.end()) return false;
  from->queue.erase(at);
  return true;
}

bool slot_pool::abort_task(const lane_ptr& in, const exec::task_id& id, const error& why) {
  slot_task_ptr task;
  {
    std::lock_guard lock(mutex_);
    const auto at =
        std::find_if(in->running.begin(), in->running.end(), [&](const auto& t) { return t->what.id == id; });
    if (at == in->running.end()) return false;
    task = *at;
  }
  task->abort.set(why);
  return true;
}

std::vector<slot_task_ptr> slot_pool::close(const lane_ptr& which, const error& why, std::function<void()> idle) {
  std::vector<slot_task_ptr> dropped, running;
  bool idle_now = false;
  {
    std::lock_guard lock(mutex_);
    if (which->closed) return {};
    which->closed = true;
    dropped.assign(which->queue.begin(), which->queue.end());
    which->queue.clear();
    running = which->running;
    idle_now = running.empty();
    if (!idle_now) which->idle = std::move(idle);
  }
  for (auto& task : running) task->abort.set(why);
  if (idle_now) idle();
  return dropped;
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

void slot_pool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    while (ready_.empty() && !stopping_) {
      ++sleeping_;
      wake_.wait(lock);
      --sleeping_;
    }
    if (stopping_) return;
    const auto from = std::move(ready_.front());
    ready_.pop_front();
    while (!from->queue.empty()) {
      auto task = std::move(from->queue.front());
      from->queue.pop_front();
      from->running.push_back(task);
      lock.unlock();
      task->run(*task);
      lock.lock();
      from->running.erase(std::find(from->running.begin(), from->running.end(), task));
      if (from->closed && from->running.empty() && from->idle) {
        auto idle = std::move(from->idle);
        from->idle = nullptr;
        lock.unlock();
        idle();
        lock.lock();
      }
      lock.unlock();
      task.reset();  // frees what the task held without the lock
      lock.lock();
    }
    --from->claimed;
  }
}

}  // namespace hydrogen::actors
