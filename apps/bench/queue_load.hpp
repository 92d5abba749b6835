#pragma once
// Synthetic loads on a simulated cluster, under the real queue policy (gang/queue.hpp) and account of slots: who waits
// how long, and how busy the cluster is. Time is simulated; a seed gives the same figures everywhere.

#include <hydrogen/gang/queue.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace hydrogen::bench {

enum class load { mixed, bursts, stream };

/// Gangs by width, as parts of the cluster.
enum class width { small, middle, wide };
inline constexpr std::array width_names{"small", "middle", "wide"};

struct load_options {
  load kind = load::mixed;
  gang::passing policy = gang::passing::safely;
  std::uint32_t nodes = 32;
  std::uint32_t slots = 8;                   // per node
  duration length = std::chrono::hours(24);  // in which gangs are submitted
  std::uint64_t seed = 1;
};

struct load_figures {
  double utilisation = 0;                    // slots held, of all, while gangs were submitted
  std::array<std::vector<double>, 3> waits;  // seconds from submission until start, by width
  std::vector<double> against_draining;      // wide: time in front, by what draining the cluster takes from then
  std::uint32_t most_passes = 0;             // gangs submitted later and started sooner than one that waited
  std::size_t gangs = 0;
};

load_figures simulate(const load_options&);

}  // namespace hydrogen::bench
