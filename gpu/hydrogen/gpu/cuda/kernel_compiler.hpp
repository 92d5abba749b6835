#pragma once
// NVRTC, loaded when the first kernel of an application is compiled. Names no CUDA type. Any thread. Part of builds
// with CUDA only.

#include <hydrogen/base/error.hpp>
#include <hydrogen/gpu/kernel.hpp>

#include <cstdint>
#include <string>

namespace hydrogen::gpu::cuda {

/// Machine code for a device of this compute capability (90: 9.0), or PTX, which ends with a zero. Needs no device.
/// Errors: not_found (no NVRTC), refused (it knows nothing that the device runs), bad_input (the compiler's words).
expected<std::string> compile_source(const kernel_code&, std::uint32_t capability);

}  // namespace hydrogen::gpu::cuda
