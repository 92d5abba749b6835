#include <hydrogen/gpu/backend.hpp>

namespace hydrogen::gpu {

expected<std::vector<device_info>> find_cuda_devices() {
  return std::vector<device_info>{};
}

expected<std::unique_ptr<backend_device>> open_cuda_device(device& front) {
  return fail(errc::refused, "this build has no CUDA", front.description(),
              "build with -DHYDROGEN_CUDA=ON, or use virtual devices");
}

}  // namespace hydrogen::gpu
