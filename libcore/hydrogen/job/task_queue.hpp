#pragma once
// The ready tasks of one parallel stage: one first-in-first-out queue per process that holds most of a task's input
// bytes, and one for tasks that are at home nowhere. Entries may be stale (their partition is no longer ready): who
// takes one checks it. Private to the job machine.

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

namespace hydrogen::job {

class task_queue {
 public:
  static constexpr std::uint32_t anywhere = UINT32_MAX;

  void push(std::uint32_t partition, std::uint32_t process) { queue_of(process).push_back(partition); }

  /// What is at home at `process`, else what is at home nowhere, else what would rather run elsewhere: nothing waits.
  std::optional<std::uint32_t> pop(std::uint32_t process) {
    if (process < at_.size() && !at_[process].empty()) return take(at_[process]);
    if (!anywhere_.empty()) return take(anywhere_);
    for (auto& q : at_) {
      if (!q.empty()) return take(q);
    }
    return std::nullopt;
  }

 private:
  using fifo = std::deque<std::uint32_t>;
  static std::uint32_t take(fifo& q) {
    const auto partition = q.front();
    q.pop_front();
    return partition;
  }
  fifo& queue_of(std::uint32_t process) {
    if (process == anywhere) return anywhere_;
    if (process >= at_.size()) at_.resize(process + 1);
    return at_[process];
  }

  fifo anywhere_;
  std::vector<fifo> at_;
};

}  // namespace hydrogen::job
