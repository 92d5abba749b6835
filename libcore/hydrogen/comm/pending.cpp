#include <hydrogen/comm/pending.hpp>

#include <pthread.h>

#include <atomic>

namespace hydrogen::comm {

struct pending::state {
  std::atomic<std::uint32_t> done{0};
  expected<void> result;
};

pending& pending::operator=(pending&& other) {
  if (state_) state_->done.wait(0, std::memory_order_acquire);
  state_ = std::move(other.state_);
  return *this;
}

pending::~pending() {
  if (state_) state_->done.wait(0, std::memory_order_acquire);
}

expected<void> pending::wait() {
  if (!state_) return {};
  state_->done.wait(0, std::memory_order_acquire);
  return state_->result;
}

bool pending::is_done() const {
  return !state_ || state_->done.load(std::memory_order_acquire) != 0;
}

call_queue::~call_queue() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

pending call_queue::make(std::function<expected<void>()> call) {
  auto result = std::make_shared<pending::state>();
  {
    std::lock_guard lock(mutex_);
    // First: a call without a thread would be waited for in vain.
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
    jobs_.push_back({std::move(call), result});
  }
  is_used_ = true;
  changed_.notify_all();
  return pending(std::move(result));
}

void call_queue::drain() {
  if (!is_used_) return;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return jobs_.empty(); });
  is_used_ = false;
}

void call_queue::run() {
  pthread_setname_np(pthread_self(), "hy-calls");
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    auto& job = jobs_.front();
    lock.unlock();
    job.result->result = job.call();
    job.result->done.store(1, std::memory_order_release);
    job.result->done.notify_all();
    lock.lock();
    jobs_.pop_front();
    if (jobs_.empty()) changed_.notify_all();
  }
}

}  // namespace hydrogen::comm
