#include <hydrogen/gpu/backend.hpp>
#include <hydrogen/gpu/trimmer.hpp>

#include <sys/prctl.h>

#include <system_error>

namespace hydrogen::gpu {

trimmer::~trimmer() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    changed_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void trimmer::ask() noexcept {
  const std::lock_guard lock(mutex_);
  asked_ = true;
  if (!thread_.joinable()) {
    try {
      thread_ = std::thread([this] { work(); });
    } catch (const std::system_error&) {
      return;  // the pools give back when they need room
    }
  }
  changed_.notify_one();
}

void trimmer::work() {
  this_thread_must_not_wait();
  ::prctl(PR_SET_NAME, "gpu-trim");
  constexpr auto look_again = std::chrono::milliseconds(50);
  std::unique_lock lock(mutex_);
  for (bool waits = false;;) {
    const auto due = [&] { return asked_ || ending_; };
    if (waits) {
      changed_.wait_for(lock, look_again, due);
    } else {
      changed_.wait(lock, due);
    }
    if (ending_) return;
    asked_ = false;
    lock.unlock();
    waits = trim_();
    lock.lock();
  }
}

}  // namespace hydrogen::gpu
