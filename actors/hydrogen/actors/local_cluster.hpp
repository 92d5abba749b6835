#pragma once
// A whole cluster on this machine, for tests, benchmarks and `hydrogen run`: embedded in this process, or as node
// processes on loopback that end with it. One thread builds, uses and destroys it.

#include <hydrogen/actors/driver.hpp>
#include <hydrogen/actors/node.hpp>
#include <hydrogen/actors/scratch_folder.hpp>

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace hydrogen::actors {

enum class cluster_kind { in_process, processes };

struct cluster_options {
  cluster_kind kind = cluster_kind::in_process;
  std::uint32_t nodes = 1;
  std::uint32_t slots = 4;                                    // per node
  std::uint32_t virtual_gpus = 0;                             // per node, instead of those of the machine
  std::uint64_t virtual_gpu_memory = std::uint64_t{1} << 30;  // of each
  std::string directory;         // journal, config, scratch, checkpoints; empty: a temporary one, removed at the end
  bool durable_journal = false;  // in_process: keep the journal in a file, too (processes always do)
  std::uint64_t block_budget = std::uint64_t{4} << 30;
  duration hang_limit = 5s;  // in_process: as in host_options
  std::string log_level = "warning";
  comm::connection_options connections;         // processes: heartbeats of the nodes
  comm::connection_options driver_connections;  // processes: those of the driver
  std::string program;  // the `hydrogen` program that node processes run; empty: this program, or the one beside it
};

class local_cluster {
 public:
  /// Returns when every node has registered. Errors: a program that cannot be run, a node that ends while it starts.
  static expected<std::unique_ptr<local_cluster>> start(cluster_options);
  /// Ends every node and its executors, and waits for them.
  ~local_cluster();
  local_cluster(const local_cluster&) = delete;

  /// Where drivers of this process live.
  process& home() { return *home_; }
  /// Opens a driver for the application and connects it. One at a time per application.
  expected<std::shared_ptr<driver>> open(gang::application_ref app, session_options = {});
  expected<gang::cluster_status> status(duration timeout = 5s);

  /// For who speaks the driver's side of the protocol itself: in_process the coordinator, else null (dial `address`).
  caf::actor coordinator() const { return node_ ? node_->coordinator() : caf::actor(); }

  const cluster_options& options() const { return options_; }
  /// Processes: the coordinator's address; node processes by number, the first hosts the coordinator.
  const std::string& address() const { return address_; }
  std::string secret_file() const { return options_.directory + "/cluster.secret"; }
  pid_t pid_of(std::uint32_t node) const { return children_.at(node).pid; }
  /// Processes: starts node `n` again on its directory, after it was killed. Waits until it has registered.
  expected<void> restart(std::uint32_t n);

 private:
  struct node_process {
    pid_t pid = 0;
    unique_fd lifeline;  // its other end is the node's parent_fd
  };
  explicit local_cluster(cluster_options options) : options_(std::move(options)) {}
  expected<void> start_in_process();
  expected<void> start_processes();
  expected<void> spawn_node(std::uint32_t n);
  expected<void> wait_for_nodes(duration limit);

  cluster_options options_;
  scratch_folder scratch_;  // empty when the directory was given
  std::string address_;
  std::unique_ptr<process> home_;
  std::unique_ptr<node> node_;          // in_process
  std::vector<node_process> children_;  // processes
  std::vector<std::pair<std::weak_ptr<driver>, caf::actor>> links_;
};

/// Drives one entry function on a cluster: for `hydrogen run`, `submit`, and programs with their own main.
expected<gang::cluster_status> fetch_status(process& home, const std::string& cluster, duration timeout);
/// Nothing new begins on `node` from now on, and leases there are handed back; or (`on` false) that again. Outlasts
/// restarts of the node and of the coordinator. Errors: not_found, as in comm::dial.
expected<void> drain_node(process& home, const std::string& cluster, const std::string& node, bool on,
                          duration timeout);
/// Joins a driver to the coordinator at `cluster`; the link actor keeps the connection until `stop_mail`. Returns when
/// the first connection stands; errors as in comm::dial.
expected<caf::actor> connect_driver(process& home, const std::shared_ptr<driver>&, const std::string& cluster,
                                    duration timeout);

}  // namespace hydrogen::actors
