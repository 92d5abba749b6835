#pragma once
// What a coordinator's records take, seen in a process that does nothing else: what a process gives back meanwhile
// would count against them.

#include <string>
#include <vector>

namespace hydrogen::bench {

/// "FLAG NODES QUEUED" makes hydrogen-bench that process.
inline constexpr const char* coordinator_memory_flag = "--coordinator-memory";

/// Prints by how many MB this process has grown. The exit code.
int run_coordinator_memory(const std::vector<std::string>& arguments);

}  // namespace hydrogen::bench
