#include <hydrogen/gpu/cuda/primary_context.cuh>
#include <hydrogen/gpu/cuda/runtime_library.hpp>

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <map>

namespace hydrogen::gpu::cuda {
namespace {

struct users {
  int count = 0;
  bool was_there = false;
};

std::mutex primary_mutex;
std::map<int, users>& primary_users() {
  static auto* const all = new std::map<int, users>;  // devices of static lifetime end late
  return *all;
}

/// The runtime does not say; the driver is loaded by now.
struct driver_calls {
  decltype(&cuDeviceGet) device = nullptr;
  decltype(&cuDevicePrimaryCtxGetState) state = nullptr;
  bool all = false;
};

driver_calls load_driver_calls() {
  driver_calls made;
  runtime_library driver({"libcuda.so.1"});
  driver.find(made.device, "cuDeviceGet");
  driver.find(made.state, "cuDevicePrimaryCtxGetState");
  made.all = driver.why_not().empty();
  return made;
}

bool has_context(int ordinal) {
  static const auto driver = load_driver_calls();
  CUdevice device = 0;
  unsigned flags = 0;
  int active = 0;
  return driver.all && driver.device(&device, ordinal) == CUDA_SUCCESS &&
         driver.state(device, &flags, &active) == CUDA_SUCCESS && active != 0;
}

}  // namespace

primary_context::primary_context(int ordinal) : ordinal_(ordinal) {
  const std::lock_guard lock(primary_mutex);
  auto& here = primary_users()[ordinal];
  if (here.count++ == 0) here.was_there = has_context(ordinal);
}

primary_context::~primary_context() {
  // With the lock: who opens the device meanwhile comes behind.
  const std::lock_guard lock(primary_mutex);
  auto& here = primary_users()[ordinal_];
  if (--here.count != 0 || here.was_there || !has_context(ordinal_)) return;
  if (cudaSetDevice(ordinal_) == cudaSuccess) (void)cudaDeviceReset();
  (void)cudaGetLastError();
}

}  // namespace hydrogen::gpu::cuda
