#pragma once
// What may go wrong in a simulated cluster, and named choices of it. Plain values.

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hydrogen::gang::testing {

enum class trouble : std::uint8_t {
  drop,               // messages between the coordinator and agents or jobs are lost,
  repeat,             // come twice,
  slow,               // take up to 3 s, so that they overtake each other
  timers,             // come early or late
  coordinator_crash,  // it comes back after 1 ms to 20 s
  old_coordinator,    // and the one before still speaks
  full_disk,          // of its journal
  node_crash,         // with its executors; it comes back after 1 ms to 15 s
  cut,                // a node has no contact with the coordinator
  pause,              // an agent does nothing for a while, then everything that has come
  executor_death,
  start_fails,  // an executor does not start,
  bad_library,  // cannot use the library,
  slow_start,   // needs up to 10 s
  stop_hangs,   // user code that does not stop when it is told to
  rank_fails,
  cancel,  // of a request, in any state
  park,    // an input of a gang is lost
  driver_crash,
  driver_away,  // its connection breaks for a moment
  drain         // somebody drains a node for a while
};
constexpr std::size_t trouble_kinds = 21;

class troubles {
 public:
  static troubles all();
  bool has(trouble t) const { return kinds_.test(static_cast<std::size_t>(t)); }
  troubles with(trouble) const;
  troubles without(trouble) const;
  std::vector<trouble> list() const;
  /// "drop,slow"; "none".
  std::string to_string() const;

 private:
  std::bitset<trouble_kinds> kinds_;
};

std::string_view name_of(trouble);
std::optional<trouble> trouble_named(std::string_view);

struct profile {
  std::string name;
  std::string summary;
  troubles kinds;
};
/// The first is the default.
const std::vector<profile>& profiles();

struct simulation_options {
  std::uint64_t seed = 1;
  troubles allowed = troubles::all();
  std::uint32_t most_nodes = 4;
  std::uint32_t most_jobs = 3;
  std::uint32_t most_requests = 3;  // of each job
};

}  // namespace hydrogen::gang::testing
