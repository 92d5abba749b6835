#pragma once
// Work that must begin behind something that only the host can see, such as the end of work on a virtual device or a
// launch by another thread, and everything enqueued behind that: kept in order until then, so that who enqueues need
// not wait. Names no CUDA type.

#include <hydrogen/gpu/backend.hpp>
#include <hydrogen/gpu/stream_state.hpp>

#include <deque>
#include <functional>
#include <mutex>
#include <optional>

namespace hydrogen::gpu::cuda {

class held_back {
 public:
  /// Called with what came of the event that it waited for; that of no event is good.
  using action = std::function<void(const expected<void>&)>;
  /// What came of something else than an event; nothing yet. Called without the lock.
  using answer = std::function<std::optional<expected<void>>()>;

  // With the owner's lock.
  bool empty() const { return entries_.empty(); }
  /// `run` is called by a later `advance`, behind everything pushed before.
  void push(event after, action run, behind needs = behind::result) {
    entries_.push_back({std::move(after), {}, std::move(run), needs});
  }
  /// Before everything pushed: by an action for what it has begun, or where nothing is held. It is waited for in any
  /// case, also by `advance` with `at_once`.
  void push_front(answer ask, action run) { entries_.push_front({{}, std::move(ask), std::move(run), behind::result}); }

  /// Runs what may begin; with `at_once` nothing is waited for. Events are asked, which makes them come, without the
  /// owner's lock; actions are run with it. One thread. True: something was run.
  bool advance(std::unique_lock<std::mutex>& lock, bool at_once) {
    bool ran = false;
    while (!entries_.empty()) {
      const event after = entries_.front().after;  // only this thread takes entries away
      const answer ask = entries_.front().ask;
      const auto needs = entries_.front().needs;
      expected<void> outcome;
      if (after.of()) {
        lock.unlock();
        const bool go = has_come(after, needs) || at_once;
        if (go) outcome = after.of()->outcome(after.at());
        lock.lock();
        if (!go) break;
      } else if (ask) {
        lock.unlock();
        auto known = ask();
        lock.lock();
        if (!known) break;
        outcome = std::move(*known);
      }
      auto run = std::move(entries_.front().run);
      entries_.pop_front();
      run(outcome);
      ran = true;
    }
    return ran;
  }

 private:
  struct entry {
    event after;
    answer ask;
    action run;
    behind needs;
  };
  /// What has failed need not be over on the device.
  static bool has_come(const event& e, behind needs) {
    if (needs == behind::result) return e.ready();
    if (e.of()->reached(e.at())) return true;
    e.of()->queue->want(e.at());
    return e.of()->reached(e.at());
  }
  std::deque<entry> entries_;
};

}  // namespace hydrogen::gpu::cuda
