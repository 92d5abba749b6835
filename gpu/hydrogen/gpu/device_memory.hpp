#pragma once
// How much of a device's memory is in use, by whomever: what is asked before a device is given to somebody else.

#include <hydrogen/gpu/device.hpp>

#include <cstdint>

namespace hydrogen::gpu {

/// Bytes of the device that are in use by all processes, with what the driver keeps for itself; of a virtual device
/// those that are held here by devices of its id. Of a GPU the driver's management library (NVML) is asked, which is
/// loaded now: this process gets no context on it. May take seconds at the first call: on slot threads. Errors:
/// not_found (no NVML, or no such device), refused (the driver does not answer), io (what it says).
expected<std::uint64_t> device_memory_in_use(const device_info&);

}  // namespace hydrogen::gpu
