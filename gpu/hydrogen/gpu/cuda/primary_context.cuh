#pragma once
// The context of a GPU in this process, which all devices that are opened on it share. It holds device memory, some
// hundred MiB, so it goes with the last of them.

#include <mutex>

namespace hydrogen::gpu::cuda {

class primary_context {
 public:
  /// From now on the GPU is used here; the driver makes the context at the first call that needs it.
  explicit primary_context(int ordinal);
  /// Nothing of this user's is left in it. The last one resets the device, unless the context was there before the
  /// first: then it is of somebody else, an application's own use of CUDA. Waits for the driver.
  ~primary_context();
  primary_context(const primary_context&) = delete;

 private:
  const int ordinal_;
};

}  // namespace hydrogen::gpu::cuda
