#pragma once
// The kernels of applications, compiled by NVRTC for one device at their first use and kept as long as it is. Any
// thread; compiling one kernel keeps nobody from launching another.

#include <hydrogen/base/error.hpp>
#include <hydrogen/gpu/kernel.hpp>

#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

namespace hydrogen::gpu::cuda {

class compiled_kernels {
 public:
  explicit compiled_kernels(std::uint32_t capability) : capability_(capability) {}
  compiled_kernels(const compiled_kernels&) = delete;
  ~compiled_kernels() { close(); }
  /// Unloads all of them. Nobody launches one any more.
  void close() noexcept;

  /// Compiles and loads it unless that has been done; on a thread that uses the device. Errors: refused (no source),
  /// those of compile_source, bad_input (no such function in it), io (what the driver says).
  expected<cudaKernel_t> get(const kernel& code);

 private:
  struct entry {
    std::once_flag once;
    cudaLibrary_t library = nullptr;
    expected<cudaKernel_t> made = nullptr;
  };
  static expected<cudaKernel_t> load(const kernel_code&, std::uint32_t capability, cudaLibrary_t& library);

  const std::uint32_t capability_;
  std::mutex mutex_;
  std::map<kernel, std::shared_ptr<entry>> all_;  // keeps the kernels, so that no other one gets their address
};

}  // namespace hydrogen::gpu::cuda
