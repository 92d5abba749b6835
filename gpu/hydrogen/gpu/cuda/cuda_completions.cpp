#include <hydrogen/base/clock.hpp>
#include <hydrogen/gpu/backend.hpp>
#include <hydrogen/gpu/cuda/completions.cuh>
#include <hydrogen/gpu/cuda/cuda_stream.cuh>

#include <sys/prctl.h>

#include <algorithm>
#include <thread>

namespace hydrogen::gpu::cuda {
namespace {

constexpr duration spinning = std::chrono::microseconds(20);
constexpr duration longest_pause = std::chrono::microseconds(50);

thread_local bool is_completion_thread = false;

cuda_stream& stream_of(stream_state& state) {
  return static_cast<cuda_stream&>(*state.queue);
}

}  // namespace

completions& completions::of_process() {
  // Never destroyed: its thread may still sleep in it when the process ends.
  static auto* const only = new completions;
  return *only;
}

void completions::watch(std::shared_ptr<stream_state> state) {
  stream_of(*state).context().begin_watch();
  const std::lock_guard lock(mutex_);
  if (!started_) {
    std::thread([this] { work(); }).detach();
    started_ = true;
  }
  arrivals_.push_back(std::move(state));
  arrived_.notify_one();
}

void completions::drain(device_context& context) {
  if (!is_completion_thread) return context.wait_unwatched();
  while (context.watched()) {
    if (!pass()) std::this_thread::yield();
  }
}

bool completions::pass() {
  {
    const std::lock_guard lock(mutex_);
    std::move(arrivals_.begin(), arrivals_.end(), std::back_inserter(watched_));
    arrivals_.clear();
  }
  bool moved = false;
  // A copy, since a callback may end a device and so come here again.
  const auto round = watched_;
  for (const auto& state : round) {
    const auto progress = stream_of(*state).poll();
    moved = moved || progress.moved;
    if (progress.more) continue;
    const auto mine = std::find(watched_.begin(), watched_.end(), state);
    if (mine == watched_.end()) continue;
    watched_.erase(mine);
    stream_of(*state).context().end_watch();
  }
  return moved;
}

void completions::work() {
  is_completion_thread = true;
  this_thread_must_not_wait();
  ::prctl(PR_SET_NAME, "cuda-events");
  ::prctl(PR_SET_TIMERSLACK, 1000UL);  // ns; the usual 50 us would double each pause
  auto moved_at = now();
  while (true) {
    if (pass()) moved_at = now();
    std::unique_lock lock(mutex_);
    if (watched_.empty()) {
      arrived_.wait(lock, [&] { return !arrivals_.empty(); });
      moved_at = now();
      continue;
    }
    const duration still = now() - moved_at;
    if (still < spinning) {
      lock.unlock();
      std::this_thread::yield();
      continue;
    }
    // An eighth of the time that it has taken so far: later by little, however long it takes.
    const auto pause = std::min(longest_pause, still / 8);
    if (arrived_.wait_for(lock, pause, [&] { return !arrivals_.empty(); })) moved_at = now();
  }
}

}  // namespace hydrogen::gpu::cuda
