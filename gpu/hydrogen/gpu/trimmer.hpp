#pragma once
// The thread on which a device's pools give back the memory that they need not keep: the driver may wait for the device
// then, and who drops a buffer, maybe an actor, must not. Not the thread that sees the end of work: memory may have to
// wait for a kernel, others' work does not. Starts when it is first needed.

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace hydrogen::gpu {

class trimmer {
 public:
  /// `trim` gives back what is too much of all pools, and says whether some of it must wait for work that uses it.
  explicit trimmer(std::function<bool()> trim) : trim_(std::move(trim)) {}
  /// Returns when the thread has ended, which may be in the driver until then.
  ~trimmer();
  trimmer(const trimmer&) = delete;

  /// Has the thread trim soon. Any thread; never waits. Where there can be no thread, nothing is given back.
  void ask() noexcept;

 private:
  void work();

  const std::function<bool()> trim_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool asked_ = false, ending_ = false;
  std::thread thread_;
};

}  // namespace hydrogen::gpu
