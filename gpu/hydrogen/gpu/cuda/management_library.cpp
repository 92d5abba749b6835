#include <hydrogen/gpu/cuda/management_library.hpp>
#include <hydrogen/gpu/cuda/runtime_library.hpp>

#include <spdlog/fmt/fmt.h>

namespace hydrogen::gpu::cuda {

management_library::management_library(const char* name) {
  runtime_library loaded({name});
  loaded.find(init_, "nvmlInit_v2");
  loaded.find(words_, "nvmlErrorString");
  loaded.find(find_, "nvmlDeviceGetHandleByUUID");
  loaded.find(memory_of_, "nvmlDeviceGetMemoryInfo");
  why_not_ = loaded.why_not();
}

management_library& management_library::of_process() {
  static auto* const only = new management_library("libnvidia-ml.so.1");
  return *only;
}

unexpected management_library::failed(result said, const char* call, const std::string& where, errc code) const {
  return fail(code, fmt::format("{}: {}", call, words_(said)), where,
              code == errc::refused ? "see whether nvidia-smi works here" : "look at nvidia-smi -L");
}

expected<void> management_library::begin() {
  if (!why_not_.empty()) {
    return fail(errc::not_found, "a GPU's memory is read back by NVML, which cannot be used: " + why_not_, {},
                "it comes with NVIDIA's driver: libnvidia-ml.so.1");
  }
  const std::lock_guard lock(mutex_);
  if (begun_) return {};
  // Never ended: the next call would wait for the driver again.
  if (const auto said = init_(); said != success) return failed(said, "nvmlInit", {}, errc::refused);
  begun_ = true;
  return {};
}

expected<std::uint64_t> management_library::memory_in_use(const std::string& uuid) {
  if (auto begun = begin(); !begun) return unexpected(std::move(begun.error()));
  handle device = nullptr;
  if (const auto said = find_(uuid.c_str(), &device); said != success) {
    return failed(said, "nvmlDeviceGetHandleByUUID", uuid, said == not_found ? errc::not_found : errc::io);
  }
  memory read;
  if (const auto said = memory_of_(device, &read); said != success) {
    return failed(said, "nvmlDeviceGetMemoryInfo", uuid, errc::io);
  }
  return read.used;
}

}  // namespace hydrogen::gpu::cuda
