#pragma once
// Keeps one control connection to the coordinator: an actor that connects, says so, and connects again when it was
// lost, after 50 ms at first and at most 1 s later. For agents and drivers.

#include <hydrogen/actors/process.hpp>

#include <functional>
#include <string>

namespace hydrogen::actors {

struct coordinator_link_handlers {
  std::function<void(const comm::connection_ptr&)> connected;  // reactor's dial thread
  std::function<void(byte_buffer frame)> frame;                // reactor thread
  std::function<void(const error&)> lost;                      // reactor thread; once per connection
  std::function<void(const error&)> refused;                   // may be empty: a dial that failed
};

/// Ends, and closes its connection, by `stop_mail`.
caf::actor spawn_coordinator_link(process&, std::string endpoint, coordinator_link_handlers);

}  // namespace hydrogen::actors
