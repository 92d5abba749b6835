#pragma once

#include <cstdint>

namespace hydrogen {

/// CPUs that this process may use by its affinity; all of the machine where that cannot be told. At least 1. Any
/// thread.
std::uint32_t usable_cpus();

}  // namespace hydrogen
