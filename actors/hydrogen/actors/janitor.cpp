#include <hydrogen/actors/janitor.hpp>
#include <hydrogen/exec/checkpoint.hpp>

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <utility>

namespace hydrogen::actors {

janitor::~janitor() {
  if (thread_.joinable()) thread_.join();
}

void janitor::run_is_over(run_id run) {
  if (storage_.empty()) return;
  std::lock_guard lock(mutex_);
  over_.push_back(run);
  if (std::exchange(working_, true)) return;
  // It has left its lock for the last time.
  if (thread_.joinable()) thread_.join();
  thread_ = std::thread([this] { work(); });
}

void janitor::work() {
  pthread_setname_np(pthread_self(), "hy-janitor");
  std::unique_lock lock(mutex_);
  while (!over_.empty()) {
    const auto run = over_.front();
    over_.pop_front();
    lock.unlock();
    if (auto ok = exec::remove_checkpoints(storage_, run); !ok) spdlog::warn("{}", ok.error().message());
    lock.lock();
  }
  working_ = false;
}

}  // namespace hydrogen::actors
