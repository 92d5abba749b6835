#pragma once
// Whatever can be told to make collective calls and to say how long each took: gangs of Hydrogen, peers, and limits of
// the machine (collective_limits.hpp). Main thread only.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/error.hpp>

#include "collective_rank.hpp"
#include "peers/timed_calls.hpp"

#include <memory>
#include <string>
#include <vector>

namespace hydrogen::bench {

class collective_system {
 public:
  virtual ~collective_system() = default;
  /// "Open MPI 4.1.4"
  virtual std::string name() const = 0;
  /// Microseconds of each call. Nothing of the system needs a core between calls of this. After an error it is of no
  /// use any more.
  virtual expected<std::vector<double>> run(const timed_call&) = 0;
};

using started_system = expected<std::unique_ptr<collective_system>>;

/// `delay`: bytes between processes are held so long; over TCP.
started_system start_hydrogen(int ranks, gang_place, duration delay = 0ns);
/// Peers; errc::not_found: "... is not installed".
started_system start_gloo(int ranks);
started_system start_open_mpi(int ranks);

}  // namespace hydrogen::bench
