#pragma once
// The main function of an executor process: started by an agent with one end of a socket pair, it waits there until it
// is assigned to a run, loads the run's library, starts its actors and says where it listens. It never outlives its
// agent: when the socket closes, or the agent is silent for the heartbeat timeout, the process ends at once.

#include <hydrogen/comm/connection.hpp>

namespace hydrogen::actors {

/// Runs until the agent ends it; returns the exit code. `control_fd` is the socket; the descriptor after it takes the
/// last words (last_words.hpp); `connections` has the heartbeats of its node. Never touches a device or user code
/// before it is assigned.
int run_executor(int control_fd, const comm::connection_options& connections);

}  // namespace hydrogen::actors
