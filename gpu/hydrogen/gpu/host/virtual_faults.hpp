#pragma once
// What a virtual device can be told to do wrong, so that everything above it can be seen to survive. Any thread.

#include <hydrogen/base/error.hpp>

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace hydrogen::gpu {

class device;

enum class virtual_fault : std::uint8_t {
  fail,  // the kernel reports an error
  hang,  // the kernel does not end until `release`
  lose   // the device is gone
};

class virtual_faults {
 public:
  /// The kernel of this name, from its `after`-th next call on (0: the next), once. What the pools ask for goes by
  /// names, too: "allocate_memory", where `fail` says that there is none left, and "free_memory", which can hang.
  void plan(std::string kernel, virtual_fault what, std::uint64_t after = 0);
  /// Kernels that hang go on, and none will hang any more.
  void release();

  /// Whether something is planned: nobody who waits may run kernels then.
  bool any();
  /// For the backend: before a kernel runs. An error to be reported instead of running it; `lost` if the device is.
  expected<void> before(const char* kernel, bool& lost);

 private:
  struct planned {
    std::string kernel;
    virtual_fault what;
    std::uint64_t after;
  };
  std::mutex mutex_;
  std::condition_variable released_;
  bool release_ = false;
  std::vector<planned> plans_;
};

/// Throws `failure` (bad_input) if the device is not virtual.
virtual_faults& faults_of(device&);

}  // namespace hydrogen::gpu
