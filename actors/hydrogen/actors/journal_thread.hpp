#pragma once
// Group commit: takes records from the coordinator actor, and on a thread of its own appends what has come, syncs once,
// and says how many records are durable. A sync that fails ends the process: nothing promised may be forgotten.

#include <hydrogen/gang/journal.hpp>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace hydrogen::actors {

class journal_thread {
 public:
  /// `synced` runs on the journal's thread with the number of records durable since the start.
  journal_thread(std::unique_ptr<gang::journal>, std::function<void(std::uint64_t)> synced);
  /// Makes durable what was appended, then ends.
  ~journal_thread();
  void append(std::vector<gang::record>);

 private:
  void work();
  std::unique_ptr<gang::journal> journal_;
  const std::function<void(std::uint64_t)> synced_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<gang::record> waiting_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace hydrogen::actors
