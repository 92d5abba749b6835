#include <hydrogen/gpu/cuda/architecture.hpp>

namespace hydrogen::gpu::cuda {

architecture choose_architecture(std::uint32_t capability, std::span<const int> supported) {
  std::uint32_t below = 0;
  for (const int each : supported) {
    const auto known = static_cast<std::uint32_t>(each);
    if (known == capability) return {"--gpu-architecture=sm_" + std::to_string(capability), true};
    if (known < capability && known > below) below = known;
  }
  if (below == 0) return {};
  return {"--gpu-architecture=compute_" + std::to_string(below), false};
}

}  // namespace hydrogen::gpu::cuda
