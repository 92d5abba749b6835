#pragma once
// The kernels of applications, compiled by NVRTC for one device at their first use and kept as long as it is: one for
// each name, ports and source, however often an application makes it. Any thread; compiling one kernel keeps nobody
// from launching another.

#include <hydrogen/base/error.hpp>
#include <hydrogen/gpu/kernel.hpp>

#include <cuda_runtime_api.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace hydrogen::gpu::cuda {

class compiled_kernels {
 public:
  explicit compiled_kernels(std::uint32_t capability) : capability_(capability) {}
  compiled_kernels(const compiled_kernels&) = delete;
  ~compiled_kernels() { close(); }
  /// Unloads all of them. Nobody launches one any more.
  void close() noexcept;

  /// One that is there.
  struct loaded {
    cudaKernel_t function = nullptr;
    cudaLibrary_t library = nullptr;
    std::atomic<std::uint32_t> shared_bytes{48 << 10};  // the most that a launch may have now; more is asked for
    std::mutex asking;
  };
  /// Compiles and loads it unless that has been done; on a thread that uses the device. The result lives until `close`.
  /// Errors: refused (no source), those of compile_source, bad_input (no such function in it), io (what the driver
  /// says; asked again the next time).
  expected<loaded*> get(const kernel& code);

 private:
  struct entry {
    std::mutex once;
    std::optional<expected<void>> made;
    loaded is;
  };
  entry* find(const kernel&);
  static expected<void> load(const kernel_code&, std::uint32_t capability, loaded&);

  const std::uint32_t capability_;
  std::mutex mutex_;
  std::map<std::string, std::unique_ptr<entry>> all_;  // by all that was written down
  std::map<const kernel_code*, std::pair<std::weak_ptr<const kernel_code>, entry*>> seen_;
};

}  // namespace hydrogen::gpu::cuda
