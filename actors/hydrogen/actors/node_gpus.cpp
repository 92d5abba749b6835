#include <hydrogen/actors/node_gpus.hpp>
#include <hydrogen/base/node_config.hpp>

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

namespace hydrogen::actors {

expected<std::vector<gpu::device_info>> gpus_of_node(std::uint32_t most, std::uint32_t virtual_count,
                                                     std::uint64_t memory) {
  if (virtual_count != 0) return gpu::virtual_devices(virtual_count, memory);
  if (most == 0) return std::vector<gpu::device_info>();
  auto found = gpu::find_devices();
  if (most == node_config::agent_table::all_gpus) {
    if (found) return found;
    spdlog::warn("GPUs of this machine are not used: {}", found.error().message());
    return std::vector<gpu::device_info>();
  }
  if (!found) return found;
  if (found->size() < most) {
    return fail(errc::not_found, fmt::format("agent.gpus is {}, {} are there", most, found->size()), {},
                "use \"all\", or agent.virtual_gpus to try things without");
  }
  found->resize(most);
  return found;
}

void use_gpus(std::vector<gpu::device_info> gpus, host_options& host, gang::reservation_options& agent) {
  if (!gpus.empty()) agent.has.devices.push_back({"gpu", static_cast<std::uint32_t>(gpus.size())});
  host.gpus = std::move(gpus);
}

}  // namespace hydrogen::actors
