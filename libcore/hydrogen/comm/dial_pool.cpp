#include <hydrogen/comm/dial_pool.hpp>

#include <pthread.h>

#include <algorithm>

namespace hydrogen::comm {

dial_pool::~dial_pool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  abort_.set({errc::cancelled, "this process is ending", {}, {}});
  changed_.notify_all();
  // No thread is added any more: `connect` looks at stopping_.
  for (auto& t : threads_) t.join();
}

void dial_pool::connect(std::string endpoint, const secret& key, hello mine, time_point deadline, done_handler done) {
  std::unique_lock lock(mutex_);
  if (stopping_) {
    lock.unlock();
    done(fail(errc::cancelled, "this process is ending", std::move(endpoint)));
    return;
  }
  waiting_.push_back({std::move(endpoint), key, std::move(mine), deadline, std::move(done)});
  if (idle_ < waiting_.size() && threads_.size() < max_threads_) threads_.emplace_back([this] { run(); });
  changed_.notify_one();
}

void dial_pool::run() {
  pthread_setname_np(pthread_self(), "hy-dial");
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto next = std::find_if(waiting_.begin(), waiting_.end(),
                                   [&](const request& r) { return stopping_ || !busy_.contains(r.endpoint); });
    if (next == waiting_.end()) {
      if (stopping_) return;
      ++idle_;
      changed_.wait(lock);
      --idle_;
      continue;
    }
    auto r = std::move(*next);
    waiting_.erase(next);
    const auto [mark, inserted] = busy_.insert(r.endpoint);
    lock.unlock();
    r.done(dial(r.endpoint, r.key, r.mine, r.deadline, &abort_, route::nearest));
    r.done = nullptr;  // what it holds must not be destroyed under the lock
    lock.lock();
    if (inserted) busy_.erase(mark);
    // The endpoint is free for the next who waits for it.
    changed_.notify_one();
  }
}

}  // namespace hydrogen::comm
