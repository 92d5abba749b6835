#pragma once
// NVIDIA's management library (NVML), which comes with the driver and sees devices without making a context on them.
// Loaded when it is first needed; names no type of its headers, which only toolkits bring. Types, values and the order
// of calls are those of NVIDIA's "NVML API Reference Guide".

#include <hydrogen/base/error.hpp>

#include <cstdint>
#include <mutex>
#include <string>

namespace hydrogen::gpu::cuda {

class management_library {
 public:
  /// A file's name, as the loader takes it.
  explicit management_library(const char* name);
  management_library(const management_library&) = delete;
  /// That of this machine's driver.
  static management_library& of_process();

  /// Bytes in use of the device with this UUID ("GPU-..."). Errors: not_found (the library, or the device), refused (it
  /// does not begin), io (what it says).
  expected<std::uint64_t> memory_in_use(const std::string& uuid);

 private:
  using result = int;  // nvmlReturn_t
  using handle = void*;
  struct memory {  // nvmlMemory_t
    unsigned long long total = 0, free = 0, used = 0;
  };
  static constexpr result success = 0;    // NVML_SUCCESS
  static constexpr result not_found = 6;  // NVML_ERROR_NOT_FOUND

  expected<void> begin();
  unexpected failed(result, const char* call, const std::string& where, errc) const;

  result (*init_)() = nullptr;
  const char* (*words_)(result) = nullptr;
  result (*find_)(const char* uuid, handle*) = nullptr;
  result (*memory_of_)(handle, memory*) = nullptr;
  std::string why_not_;  // it cannot be used
  std::mutex mutex_;
  bool begun_ = false;
};

}  // namespace hydrogen::gpu::cuda
