#pragma once
// Removes what runs that are over have left in the storage folder of a node, on a thread of its own: an actor must not
// wait for a disk. The thread lives as long as there is something to remove.

#include <hydrogen/base/ids.hpp>

#include <deque>
#include <mutex>
#include <string>
#include <thread>

namespace hydrogen::actors {

class janitor {
 public:
  explicit janitor(std::string storage) : storage_(std::move(storage)) {}
  /// Waits until everything is removed.
  ~janitor();
  janitor(const janitor&) = delete;

  /// Does not block. What cannot be removed is logged.
  void run_is_over(run_id);

 private:
  void work();

  const std::string storage_;
  std::mutex mutex_;
  std::deque<run_id> over_;
  bool working_ = false;
  std::thread thread_;
};

}  // namespace hydrogen::actors
