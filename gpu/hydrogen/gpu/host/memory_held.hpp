#pragma once
// What virtual devices have taken of the host's memory, so that it can be read back as that of a GPU can.

#include <atomic>
#include <cstdint>
#include <string>

namespace hydrogen::gpu::host {

/// Bytes of device memory that all devices of this id hold in this process. Lives for ever. Any thread.
std::atomic<std::uint64_t>& memory_held(const std::string& id);

}  // namespace hydrogen::gpu::host
