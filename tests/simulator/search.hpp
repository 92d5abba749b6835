#pragma once
// Runs many seeds, and looks for the shortest way to break what one of them broke.

#include "simulation.hpp"

namespace hydrogen::gang::testing {

struct breakage {
  simulation_options options;
  std::string invariant;  // what was broken
  duration after{};       // of simulated time
};

struct range {
  std::uint64_t first = 1, last = 1;
};

struct search_result {
  std::uint64_t seeds = 0;
  std::vector<breakage> failures;  // by seed
  cells visited;
};

/// Runs the seeds on `threads` threads; ends early when `most_failures` are found.
search_result search(const simulation_options&, range seeds, std::uint32_t threads, std::size_t most_failures);

/// Runs one; nothing: all held.
std::optional<breakage> run_one(const simulation_options&, std::FILE* trace = nullptr, cells* visited = nullptr);

struct cancelled_everywhere {
  std::map<std::string, std::uint64_t> states;               // in which a request was cancelled, and how often
  std::vector<std::pair<std::uint64_t, breakage>> failures;  // after so many steps
};
/// In each of these clusters nothing goes wrong, but all is cancelled: after no step, one, two, and so on, to the end.
cancelled_everywhere cancel_everywhere(const simulation_options&, range seeds);

/// Takes away kinds of trouble, nodes, jobs and requests as long as some seed still breaks the same invariant, then
/// looks for the seed that does it soonest. Tries at most `tries` seeds for each step.
breakage shrink(const breakage&, std::uint64_t tries);

}  // namespace hydrogen::gang::testing
