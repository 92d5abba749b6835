#pragma once
// A node: hosts the coordinator, an agent, or both, in the process it is given. Built and destroyed by the thread that
// runs the process (destruction waits for executors to end). `attach` is thread-safe.

#include <hydrogen/actors/agent.hpp>
#include <hydrogen/actors/coordinator.hpp>
#include <hydrogen/actors/driver.hpp>
#include <hydrogen/actors/process.hpp>

#include <memory>
#include <string>
#include <vector>

namespace hydrogen::actors {

struct node_options {
  std::string name = "n1";
  bool coordinator = true;
  bool agent = true;
  std::string coordinator_address;  // when the coordinator is in another process
  std::string journal_dir;          // empty: the journal is kept in memory
  host_kind executors = host_kind::in_process;
  host_options host;  // node, slots, block budget, data_dir, ...
  gang::admission_options admission;
  gang::reservation_options reservation;
};

class node {
 public:
  static expected<std::unique_ptr<node>> start(process&, node_options);
  ~node();
  node(const node&) = delete;

  /// Another agent in this process (an embedded cluster of several nodes), or none if this node hosts no coordinator.
  void add_agent(const node_options&);
  /// Joins a driver of this process to this node's coordinator.
  void attach(const std::shared_ptr<driver>&);
  /// The coordinator in this process, or null.
  const caf::actor& coordinator() const { return coordinator_; }

 private:
  explicit node(process& home) : home_(home) {}
  process& home_;
  caf::actor coordinator_;
  caf::actor link_;
  std::vector<agent_handle> agents_;
};

}  // namespace hydrogen::actors
