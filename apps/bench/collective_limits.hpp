#pragma once
// The least that an all-reduce has to do on this machine, as threads of this process. Main thread only.

#include <hydrogen/base/unique_fd.hpp>

#include "collective_system.hpp"

#include <utility>

namespace hydrogen::bench {

/// The addition alone: after each thread has written its own buffer, each reads one slice of all buffers, adds in the
/// order of ranks and stores the sum into that slice of all of them, without waiting for the others. A call lasts from
/// the first thread's begin to the last one's end.
std::unique_ptr<collective_system> fused_kernel(int ranks);

/// Two ends of a TCP connection on loopback, set as gang links are.
expected<std::pair<unique_fd, unique_fd>> loopback_pair();

/// Two threads send each other their buffers over TCP on loopback, and receive while they send.
started_system plain_exchange();

}  // namespace hydrogen::bench
