#pragma once
// The driver's side of the gang protocol without the job machine, so that the control plane is measured alone: an actor
// that keeps so many gangs in flight. Each is submitted, its fence answered, its ranks sent to the executors that it
// was placed on, and it is released when all of them have returned. Coordinator, agents and executors are the real
// ones.
//
// What is left out: it repeats nothing, and takes any trouble for the end of the measurement.

#include <hydrogen/actors/local_cluster.hpp>
#include <hydrogen/exec/task.hpp>

#include <memory>
#include <vector>

namespace hydrogen::bench {

struct gang_load {
  std::uint32_t ranks = 1;  // of each gang
  std::uint32_t in_flight = 16;
  std::uint64_t gangs = 1;
  bool spread = false;  // over all nodes, evenly
};

struct gang_times {
  time_point begin;
  std::vector<time_point> closed;    // of each gang, in order: it is known that its Closed is durable
  std::vector<duration> to_granted;  // from its submission, of those that were told of it
  double members = 0;                // of a gang, on average: nodes that had a part of it
};

class gang_outcome;

/// A run of its own on a cluster, which must outlive it. One thread, which serves actors while it waits, as a driver's
/// does. Throws `failure`.
class gang_driver {
 public:
  explicit gang_driver(actors::local_cluster&);
  ~gang_driver();
  gang_driver(const gang_driver&) = delete;
  gang_times run(const gang_load&);

 private:
  actors::local_cluster& cluster_;
  std::shared_ptr<gang_outcome> outcome_;
  caf::actor actor_;
  caf::actor link_;           // processes
  actors::peer_key key_ = 0;  // in_process
};

}  // namespace hydrogen::bench
