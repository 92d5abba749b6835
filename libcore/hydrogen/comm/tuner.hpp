#pragma once
// Measures which algorithm is faster from which size on, between ranks of one host, and makes a table of it (tuning).
// Its gangs run in this process: each "process" of them has a rendezvous and a listener on loopback of its own, so
// bytes go over real sockets, memory files and the kernel's copy. Takes less than two seconds of one or two CPUs.

#include <hydrogen/comm/tuning.hpp>

#include <functional>
#include <string>
#include <vector>

namespace hydrogen::comm {

/// One size: the lower quartiles of both ways, measured in turns.
struct tuning_point {
  std::uint64_t bytes = 0;
  double below_us = 0;  // the way for smaller sizes
  double above_us = 0;
};

/// From which size on the second way is to be taken: what costs least over all points, where the cost of a point is by
/// which factor the way taken is slower. Points ascend in size. The threshold is the last size of the first way, 0 if
/// there is none; doubled where the first way wins everywhere, as far as was measured.
std::uint64_t best_threshold(const std::vector<tuning_point>&);

/// The smallest size whose bytes a microsecond are at least 0.85 of the best; `below_us` alone counts.
std::uint64_t best_bucket(const std::vector<tuning_point>&);

struct tuning_measured {
  tuning table;
  struct series {
    std::string what;  // "one shot | owner reduce, 4 ranks over TCP"
    std::vector<tuning_point> points;
    std::uint64_t chosen = 0;
  };
  std::vector<series> all;
};

/// Blocks. `stop` is asked between measurements: errc::cancelled. Errors of gangs that cannot be made.
expected<tuning_measured> measure_tuning(const std::function<bool()>& stop);

/// For a process that has time: measures and writes the table of this machine, unless it is there or another process is
/// just doing that; says in the log what came of it. Blocks until then, or until `stop`.
void tune_once(const std::function<bool()>& stop);

}  // namespace hydrogen::comm
