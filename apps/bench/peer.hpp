#pragma once
// Peers: Polars, DuckDB and PyTorch on the same work, run by python3 in a process of their own (peers.py). Main thread
// only.

#include "bench.hpp"

#include <string>
#include <vector>

namespace hydrogen::bench {

struct peer_figure {
  std::string name;     // "polars 1.2"
  double median = 0;    // milliseconds; 0: not measured
  std::string problem;  // "polars is not installed", or what went wrong
};

/// Measures `peer` ("polars", "duckdb" with two threads, "torch" with one) on `work` with `arguments`, `rounds` times
/// after a warm-up.
peer_figure measure_peer(const std::string& peer, const std::string& work, const std::vector<std::string>& arguments,
                         int rounds);

/// Reports the case once beside each peer that could be measured, else once with what was missing.
void report_beside_peers(session& s, const result& mine, const std::vector<peer_figure>& peers);

}  // namespace hydrogen::bench
