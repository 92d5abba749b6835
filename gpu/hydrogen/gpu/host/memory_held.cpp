#include <hydrogen/gpu/host/memory_held.hpp>

#include <map>
#include <mutex>

namespace hydrogen::gpu::host {

std::atomic<std::uint64_t>& memory_held(const std::string& id) {
  static std::mutex mutex;
  static auto* const all = new std::map<std::string, std::atomic<std::uint64_t>>;  // devices may end after statics
  const std::lock_guard lock(mutex);
  return (*all)[id];
}

}  // namespace hydrogen::gpu::host
