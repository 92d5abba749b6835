#pragma once
// What `hydrogen status` shows: a snapshot of the coordinator, made by admission::status(). Plain values with
// `inspect`.

#include <hydrogen/base/ids.hpp>
#include <hydrogen/base/resources.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace hydrogen::gang {

/// Slots of one node that one attempt (a gang's part, or a lease) holds.
struct holder_status {
  std::string request;  // label and id: "digits: stage 2, train (1f0c2a9b/j0/s2#0)"
  std::string attempt;  // "t1.4"
  std::uint32_t slots = 0;
  std::vector<device_count> devices;  // that it holds with them
  template <class I>
  friend auto inspect(I& f, holder_status& x) {
    return f(x.request, x.attempt, x.slots, x.devices);
  }
};

struct device_status {
  std::string kind;
  std::uint32_t count = 0;
  std::uint32_t free = 0;
  template <class I>
  friend auto inspect(I& f, device_status& x) {
    return f(x.kind, x.count, x.free);
  }
};

struct node_status {
  std::string name;
  boot_id boot;
  std::string state;  // "ready", "draining", "drained", "joining", "lost contact", "awaited since the restart"
  std::uint32_t slots = 0;
  std::uint32_t free = 0;
  std::uint32_t executors = 0;
  std::vector<device_status> devices;
  std::vector<holder_status> held;
  template <class I>
  friend auto inspect(I& f, node_status& x) {
    return f(x.name, x.boot, x.state, x.slots, x.free, x.executors, x.devices, x.held);
  }
};

struct run_status {
  run_id run;
  std::string application;
  std::string driver;  // its endpoint; empty in process
  std::string state;   // "connected", "driver away", "ending"
  std::uint32_t requests = 0;
  template <class I>
  friend auto inspect(I& f, run_status& x) {
    return f(x.run, x.application, x.driver, x.state, x.requests);
  }
};

struct request_status {
  request_id id;
  std::string label;
  std::string kind;   // "gang" or "parallel"
  std::string state;  // as in the protocol: "queued", "reserving", "committing", "joining", "running", "parked", ...
  std::uint32_t least = 0;
  std::uint32_t most = 0;
  std::uint32_t held = 0;   // slots debited for it now
  std::uint64_t place = 0;  // in the queue, by submission
  std::string attempt;      // of a gang: its live or last attempt; empty before the first
  std::string reason;       // why it waits; empty while its tasks run
  std::string meets;        // of a gang that runs: in what its ranks meet, "host memory"; empty if not known
  template <class I>
  friend auto inspect(I& f, request_status& x) {
    return f(x.id, x.label, x.kind, x.state, x.least, x.most, x.held, x.place, x.attempt, x.reason, x.meets);
  }
};

struct cluster_status {
  term_id term;
  std::vector<node_status> nodes;  // by name
  std::vector<run_status> runs;
  std::vector<request_status> requests;  // in the order of the queue
  template <class I>
  friend auto inspect(I& f, cluster_status& x) {
    return f(x.term, x.nodes, x.runs, x.requests);
  }
};

}  // namespace hydrogen::gang
