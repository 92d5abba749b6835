#pragma once
// A network in virtual time, for the exchanges of production (comm/exchange.hpp): thousands of ranks make one
// collective call, in one thread, without data. Deterministic: the same call takes the same number of picoseconds.
//
// The model is LogGP (Alexandrov, Ionescu, Schauser, Scheiman 1995; L, o, g from Culler et al. 1993), with hosts:
//
//     sender's core     o + n c       per message of n bytes: system call, and copy into the kernel
//     sender's NIC      max(g, w G)   one message after the other; w: n with headers. All ranks of a host share it
//     network           L
//     receiver's NIC    w G           while the message still comes in (cut through); shared, too
//     receiver's core   o + n c
//     adding            a for each byte read or written
//
// Messages within a host need the cores alone. Ranks of one core run one after the other: until there is nothing to do,
// or for 3 ms; a change costs `change_us`, and being woken after an idle time of more than `spin_us`, `wake_us`. A rank
// sends and receives in turn. Nothing is lost, buffers of sockets have no end, all ranks begin at time 0.

#include <hydrogen/comm/exchange.hpp>

#include <functional>
#include <memory>
#include <vector>

namespace hydrogen::bench {

struct network_constants {
  // Between hosts.
  double latency_us = 0;         // L
  double gap_us = 0;             // g
  double wire_ns_per_byte = 0;   // G: 8 / (Gbit/s)
  std::uint32_t segment = 1448;  // payload of a packet
  std::uint32_t headers = 78;    // what the wire carries beside it: Ethernet with preamble and gap, IP, TCP

  // Of a core. Data and scratch of a rank that are together larger than `cache_bytes` come from memory.
  double overhead_us = 0;  // o
  double cached_copy_ns_per_byte = 0;
  double copy_ns_per_byte = 0;
  double cached_add_ns_per_byte = 0;
  double add_ns_per_byte = 0;
  std::uint64_t cache_bytes = 4 << 20;
  double wake_us = 0;
  double spin_us = 0;
  double change_us = 0;

  // Of a host's shared memory.
  double memory_ns_per_byte = 0;  // read or written by all cores together
  double meeting_us = 0;          // of a barrier, for each rank of the host
};

/// Where ranks are.
struct network_places {
  std::vector<std::uint32_t> host;  // of each rank
  std::vector<std::uint32_t> core;  // of each rank; numbered over all hosts
  bool one_wire = false;            // all hosts send over the same wire, as over a loopback device with a rate

  /// Ranks of a host follow each other, and are spread evenly over its cores.
  static network_places even(std::uint32_t hosts, std::uint32_t ranks_per_host, std::uint32_t cores_per_host);
  /// Each rank a host of its own, on cores that they share, over one wire: processes of one machine over loopback.
  static network_places loopback(std::uint32_t ranks, std::uint32_t cores);
};

/// What one rank does: an exchange, and what it computes when that is over.
struct simulated_call {
  std::unique_ptr<comm::exchange> exchange;
  std::function<void(comm::exchange_port&)> finish;  // may be empty
};

struct simulated_rank {
  std::uint64_t sent_messages = 0;
  std::uint64_t sent_bytes = 0;  // payload
  std::uint64_t received_messages = 0;
  std::uint64_t received_bytes = 0;
  std::uint64_t scratch_bytes = 0;
  std::int64_t done_ps = 0;
};

struct simulated_run {
  std::vector<simulated_rank> ranks;
  double us = 0;  // until the last rank is done
};

/// Addresses that nothing may be read from or written to; exchanges calculate with them alone.
std::byte* nowhere();
inline constexpr std::uint64_t nowhere_bytes = std::uint64_t{1} << 40;

/// One call of all ranks, at most 65,535. `data_bytes`: of each rank's buffer. Throws `failure` when a rank refuses a
/// frame, or waits for one that nobody sends.
simulated_run simulate(const network_constants&, const network_places&, std::uint64_t data_bytes,
                       const std::function<simulated_call(std::uint32_t rank)>& call);

}  // namespace hydrogen::bench
