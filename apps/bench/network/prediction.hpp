#pragma once
// What an all-reduce of floats would take on hosts that are not here: the exchanges of production in the simulated
// network (simulation.hpp), and closed forms for what no exchange does. One thread.

#include <hydrogen/comm/algorithm.hpp>

#include "simulation.hpp"

#include <optional>
#include <string>

namespace hydrogen::bench {

using comm::algorithm;
const char* title_of(algorithm);

struct cluster_shape {
  std::uint32_t hosts = 1;
  std::uint32_t ranks_per_host = 1;
  std::uint32_t cores_per_host = 64;
  std::uint32_t ranks() const { return hosts * ranks_per_host; }
};

/// Constants of a network, before those of this machine are filled in.
network_constants network_of(double gbit_per_second, double latency_us);

struct prediction {
  double us = 0;
  // The most that one rank has.
  double messages = 0;  // sent
  double bytes = 0;     // sent
  double scratch_bytes = 0;
  double connections = 0;
  double socket_bytes = 0;   // of all connections: kernel buffers at Linux' default limit, and staging
  bool is_simulated = true;  // else a closed form, because so many messages take too long
};

/// Nothing: it cannot be done, as `why` says.
std::optional<prediction> predict(const network_constants&, const cluster_shape&, algorithm, std::uint64_t bytes,
                                  std::string& why);

/// The closed forms: what bounds a call when every rank has a core, in microseconds. They leave out what waits for
/// what.
double one_shot_bound_us(const network_constants&, const cluster_shape&, std::uint64_t bytes);
double owners_bound_us(const network_constants&, const cluster_shape&, std::uint64_t bytes);
/// Reducing in the shared memory of a host to one of its ranks, or copying the result to all.
double local_reduce_us(const network_constants&, const cluster_shape&, std::uint64_t bytes);
double local_copy_us(const network_constants&, const cluster_shape&, std::uint64_t bytes);

/// The calls of all ranks, for the simulation; sums of `count` floats. Not of the hierarchical all-reduce.
std::function<simulated_call(std::uint32_t rank)> calls_of(algorithm, std::uint32_t ranks, std::size_t count);

}  // namespace hydrogen::bench
