#include <hydrogen/gpu/cuda/management_library.hpp>
#include <hydrogen/gpu/device_memory.hpp>
#include <hydrogen/gpu/host/memory_held.hpp>

namespace hydrogen::gpu {

expected<std::uint64_t> device_memory_in_use(const device_info& of) {
  if (of.backend == backend_kind::host) return host::memory_held(of.id).load();
  return cuda::management_library::of_process().memory_in_use(of.id);
}

}  // namespace hydrogen::gpu
