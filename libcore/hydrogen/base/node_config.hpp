#pragma once
// The config file of a node: strict TOML. Unknown tables and keys, wrong types and bad values are errors that name
// file, line, what was expected and the nearest known key; all of them are reported at once. Every key has a default
// (below), so an empty file is an all-in-one node. Sizes and durations are strings with a unit ("64 MiB", "500 ms";
// units.hpp). Relative paths are relative to the folder of the config file. Plain values, any thread.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/error.hpp>
#include <hydrogen/base/resources.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hydrogen {

struct node_config {
  /// [node]: who this is and what it hosts.
  struct node_table {
    std::string name;         // letters, digits, '.', '_', '-'; unique in the cluster. Default: the host's name
    bool coordinator = true;  // roles = ["coordinator", "agent"]: at least one of them
    bool agent = true;
    std::string data_dir;  // journal, library cache, scratch; of this node alone. Default: "data/NAME"
  } node;

  /// [coordinator]: `listen` is read by the node that hosts it, `address` by everybody else.
  struct coordinator_table {
    std::string listen = "127.0.0.1:7410";
    std::string address = "127.0.0.1:7410";  // default: `listen`
    std::uint32_t expected_nodes = 1;        // requests wait for these before the coordinator says "never fits"
  } coordinator;

  /// [queue]: who goes next; read by the node that hosts the coordinator.
  struct queue_table {
    duration ageing = std::chrono::minutes(5);  // what waits in front is passed no longer than this
    std::uint32_t most_passes = 1000;           // and by so many
    bool evict = true;                          // gangs of lower priority give way
    std::uint32_t application_slots = 0;        // most that one application may hold; 0: any number
    std::uint32_t application_queued = 0;       // most of its requests that may wait; 0: any number
  } queue;

  /// [agent]
  struct agent_table {
    static constexpr std::uint32_t all_gpus = UINT32_MAX;
    std::uint32_t slots = 0;         // 0 in the file: one per core; here never 0
    resources has;                   // memory, other devices; memory not in the file: the host's
    std::uint32_t gpus = all_gpus;   // that tasks may have, of those that the driver shows
    std::uint32_t virtual_gpus = 0;  // instead: devices whose kernels run on threads of the node
    std::uint64_t virtual_gpu_memory = std::uint64_t{1} << 30;  // bytes, of each
    std::vector<std::string> labels;                            // "zone=a", "ssd"
    std::string listen = "127.0.0.1:0";                         // port 0: any free one
    std::uint64_t block_budget = std::uint64_t{4} << 30;        // bytes of blocks that one executor keeps in memory
    duration start_timeout = 60s;                               // of an executor process, library loaded
    duration join_timeout = 30s;                                // until all ranks of a gang have found each other
    bool tune = true;  // measures how this machine moves data between ranks, once: two seconds of two CPUs
  } agent;

  /// [cluster]: must be the same on every node.
  struct cluster_table {
    std::string secret_file = "cluster.secret";  // mode 0600; made by `hydrogen secret new FILE`
    duration heartbeat_interval = 500ms;
    duration heartbeat_timeout = 3s;  // silence after which the other side counts as gone
    duration membership_grace = 10s;  // how long "never fits" waits for expected nodes
  } cluster;

  /// [storage]: checkpoints; one path that every node and the driver can read and write.
  struct storage_table {
    std::string dir = "data/storage";
  } storage;

  /// [log]
  struct log_table {
    std::string level = "info";  // trace, debug, info, warning, error, off
  } log;

  /// Not in the file: an inherited descriptor; the node ends at end of file on it. -1: none.
  int parent_fd = -1;
};

/// All that is wrong with a config, in the order of the file.
using config_errors = std::vector<error>;

/// Reads and checks the file. `path` is also what relative paths in it are relative to. `name`, if not empty, replaces
/// node.name, so that several nodes can share a file.
tl::expected<node_config, config_errors> load_node_config(const std::string& path, const std::string& name = {});

/// The same for text that is already in memory; `path` names it in errors.
tl::expected<node_config, config_errors> parse_node_config(std::string_view text, const std::string& path,
                                                           const std::string& name = {});

/// Every key as "table.key", in the order of the struct.
std::vector<std::string> node_config_keys();

/// Host and port of "host:port" or "[v6]:port".
struct host_port {
  std::string host;
  std::uint16_t port = 0;
};
expected<host_port> parse_host_port(std::string_view text);

/// "localhost", 127.0.0.0/8 or ::1: where a node may listen as long as connections are not encrypted.
bool is_loopback(std::string_view host);

}  // namespace hydrogen
