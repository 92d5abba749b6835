#pragma once
// Which GPUs a node lends to tasks: those that the driver shows, or virtual ones. Any thread; finding them may take a
// second where there is a driver.

#include <hydrogen/actors/executor_host.hpp>
#include <hydrogen/gang/reservation.hpp>

#include <vector>

namespace hydrogen::actors {

/// `most`: of those found (node_config::agent_table::all_gpus: all, and none if the driver does not answer);
/// `virtual_count`: instead of them, with `memory` bytes each. Errors: not_found (`most` are not there), io.
expected<std::vector<gpu::device_info>> gpus_of_node(std::uint32_t most, std::uint32_t virtual_count,
                                                     std::uint64_t memory);
/// The node offers them, and its executors know them.
void use_gpus(std::vector<gpu::device_info>, host_options&, gang::reservation_options&);

}  // namespace hydrogen::actors
