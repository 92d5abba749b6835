#pragma once
// For which processor a kernel of an application is compiled. Names no CUDA type.

#include <cstdint>
#include <span>
#include <string>

namespace hydrogen::gpu::cuda {

struct architecture {
  std::string option;     // of the compiler: "--gpu-architecture=sm_90"
  bool is_binary = true;  // else PTX, which the driver compiles for its device
};

/// For a device of this compute capability (90: 9.0) by a compiler that knows `supported`: machine code where it knows
/// the device, else PTX for the nearest one below. Without an option: it knows none that the device could run.
architecture choose_architecture(std::uint32_t capability, std::span<const int> supported);

}  // namespace hydrogen::gpu::cuda
