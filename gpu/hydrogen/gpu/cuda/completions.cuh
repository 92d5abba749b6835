#pragma once
// The thread that sees how far the CUDA devices of this process are: it asks the events of the streams that somebody
// waits for, often at first and then less and less, and sleeps while there are none. Not a callback of CUDA's, since
// such a one holds up the device and may not call it.

#include <hydrogen/gpu/stream_state.hpp>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

namespace hydrogen::gpu::cuda {

class device_context;

class completions {
 public:
  /// The only one: events of all devices are asked by one thread, which ends with the process.
  static completions& of_process();

  /// Asks this stream from now on, until it has nothing under way. Any thread; the stream is not watched.
  void watch(std::shared_ptr<stream_state>);
  /// Returns when no stream of this device is watched. On the completion thread itself, where a callback ends its own
  /// device, it asks until then.
  void drain(device_context&);

 private:
  completions() = default;
  void work();
  /// Asks each stream once. True: one of them has moved.
  bool pass();

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<std::shared_ptr<stream_state>> arrivals_;
  bool started_ = false;
  std::vector<std::shared_ptr<stream_state>> watched_;  // of the thread
};

}  // namespace hydrogen::gpu::cuda
