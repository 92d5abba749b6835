#pragma once
// The agent of a node: an actor around gang::reservation. It owns the node's executors through an executor_host.
//
// Takes order_mail, coordinator_attached, coordinator_detached, executor_*_mail, stop_mail (mail.hpp).

#include <hydrogen/actors/executor_host.hpp>
#include <hydrogen/actors/process.hpp>
#include <hydrogen/gang/reservation.hpp>

#include <memory>

namespace hydrogen::actors {

enum class host_kind { in_process, child_processes };

/// The host is created with the agent and shared with the caller, who shuts it down after the agent has stopped.
struct agent_handle {
  caf::actor actor;
  std::shared_ptr<executor_host> host;
};
agent_handle spawn_agent(process&, gang::reservation_options, host_kind, host_options);

}  // namespace hydrogen::actors
