#pragma once
// What programs call: run an application embedded, on node processes of this machine, or on a cluster; be a node; ask
// for the status. All functions block the calling thread until done and return the exit code of the process, with
// errors already on standard error. Exit codes: 0 done, 1 the application or its job failed, 2 bad input, 130
// interrupted.

#include <hydrogen/actors/executor_process.hpp>
#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/error.hpp>
#include <hydrogen/base/node_config.hpp>
#include <hydrogen/gang/status.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace hydrogen::actors {

struct driver_options {
  std::string application;             // path of the library
  std::vector<std::string> arguments;  // of the application
  std::string storage_dir;             // for checkpoints; empty: a temporary directory, removed at the end
  std::uint64_t max_result = std::uint64_t{1} << 30;    // bytes that one action may bring to the driver
  std::uint64_t block_budget = std::uint64_t{4} << 30;  // bytes of blocks in memory, per executor and in the driver
  std::string log_level = "warning";
  int priority = 0;  // higher goes first
};

struct embedded_options {
  std::uint32_t slots = 4;
  std::uint32_t virtual_gpus = 0;                 // instead of those of the machine
  duration hang_limit = std::chrono::seconds(5);  // user code that is told to end and does not ends the process
};

struct processes_options {
  std::uint32_t nodes = 1;
  std::uint32_t slots = 4;         // per node
  std::uint32_t virtual_gpus = 0;  // per node, instead of those of the machine
};

int run_embedded(const driver_options&, const embedded_options&);
int run_processes(const driver_options&, const processes_options&);
int submit(const driver_options&, const std::string& cluster, const std::string& secret_file);
/// Until SIGTERM or SIGINT, or end of file on `config.parent_fd` when that is not negative.
int run_node(const node_config&);
expected<gang::cluster_status> fetch_status(const std::string& cluster, const std::string& secret_file,
                                            duration timeout);
/// As local_cluster's.
expected<void> drain_node(const std::string& cluster, const std::string& secret_file, const std::string& node, bool on,
                          duration timeout);

}  // namespace hydrogen::actors
