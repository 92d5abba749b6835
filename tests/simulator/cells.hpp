#pragma once
// How often each event met each state of the machines of gang admission: a cell that no seed visits is a gap of the
// simulator, unless it cannot be.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hydrogen::gang::testing {

/// Counts by (state, event), with their names.
class grid {
 public:
  grid(std::string title, std::span<const std::string_view> states, std::span<const std::string_view> events)
      : title_(std::move(title)), states_(states), events_(events), counts_(states.size() * events.size()) {}

  template <class State, class Event>
  void count(State s, Event e) {
    ++counts_[static_cast<std::size_t>(s) * events_.size() + static_cast<std::size_t>(e)];
  }
  void add(const grid& other);
  /// A row for each event, a column for each state.
  std::string table() const;
  std::size_t cells() const { return counts_.size(); }
  std::size_t visited() const;

 private:
  std::string title_;
  std::span<const std::string_view> states_;
  std::span<const std::string_view> events_;
  std::vector<std::uint64_t> counts_;
};

// ---- an agent's entry ----------------------------------------------------------------------------------------------

enum class entry_row : std::uint8_t { absent, dead, reserved, starting, committed, joining, running, draining };
enum class entry_event : std::uint8_t {
  reserve,
  commit,
  go,
  permit,
  enter,
  close,
  abort,
  revoke,
  acknowledge_gone,
  kept,
  disowned,
  expelled,
  end_executors,
  executor_ready,
  executor_failed,
  executor_died,
  ranks_joined,
  everyone_joined,
  ranks_returned,
  stopped,
  contact_back,
  contact_lost,
  deadline
};

// ---- the coordinator's attempt, and its request --------------------------------------------------------------------

enum class attempt_row : std::uint8_t {
  absent,  // not live (any more)
  reserving,
  committing,
  joining,
  running,
  recovering,
  closing,
  aborting,
  revoking
};
enum class attempt_event : std::uint8_t {
  reserved,
  refused,
  committed,
  joined,
  everyone_joined,
  entered,
  finished,
  gone,
  absent,
  listed,  // its node is back with a list
  agent_lost,
  go_durable,
  fenced,
  again,
  park,
  release,
  fail,
  release_lease,
  cancel,
  deadline
};

enum class request_row : std::uint8_t { unknown, queued, attempted, parked, requeuing, verdict, ending };
enum class request_event : std::uint8_t {
  admit,
  again,
  park,
  release,
  fail,
  want,
  cancel,
  end_run,
  driver_lost,
  record_durable,
  deadline
};

/// One of each.
struct cells {
  cells();
  grid gang_entries, lease_entries, gang_attempts, leases, gangs, stages;
  std::array<const grid*, 6> all() const {
    return {&gang_entries, &lease_entries, &gang_attempts, &leases, &gangs, &stages};
  }
  void add(const cells&);
};

}  // namespace hydrogen::gang::testing
