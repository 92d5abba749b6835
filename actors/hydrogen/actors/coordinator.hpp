#pragma once
// The coordinator of a cluster: an actor around gang::admission. It translates: peers' messages to events, effects to
// messages; journal records go to a thread of their own, so that no CAF worker waits for a disk, and one sync serves
// all records that came together.
//
// Takes attach_peer, detach_peer, agent_mail, driver_mail, status_mail, drain_mail, stop_mail (mail.hpp).

#include <hydrogen/actors/process.hpp>
#include <hydrogen/gang/admission.hpp>
#include <hydrogen/gang/journal.hpp>

#include <memory>

namespace hydrogen::actors {

/// Replays the journal's history and opens the next term.
caf::actor spawn_coordinator(caf::actor_system&, gang::admission_options, std::unique_ptr<gang::journal>);

/// How peers in other processes reach it: handlers for one accepted control connection.
std::pair<comm::connection_handlers, process::open_handler> coordinator_peer(const caf::actor& coordinator,
                                                                             const comm::hello& peer);

}  // namespace hydrogen::actors
