#include "cells.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace hydrogen::gang::testing {
namespace {

constexpr std::array<std::string_view, 8> entry_rows{"absent",    "dead",    "reserved", "starting",
                                                     "committed", "joining", "running",  "draining"};
constexpr std::array<std::string_view, 23> entry_events{
    "reserve",        "commit",         "go",           "permit",        "enter",        "close",
    "abort",          "revoke",         "acknowledged", "kept",          "disowned",     "expelled",
    "end executors",  "executor ready", "start failed", "executor died", "ranks joined", "everyone joined",
    "ranks returned", "stopped",        "contact back", "contact lost",  "deadline"};
constexpr std::array<std::string_view, 9> attempt_rows{"absent",     "reserving", "committing", "joining", "running",
                                                       "recovering", "closing",   "aborting",   "revoking"};
constexpr std::array<std::string_view, 20> attempt_events{
    "reserved", "refused", "committed", "joined",        "everyone joined", "entered", "finished",
    "gone",     "absent",  "listed",    "agent lost",    "go durable",      "fenced",  "again",
    "park",     "release", "fail",      "release lease", "cancel",          "deadline"};
constexpr std::array<std::string_view, 7> request_rows{"unknown",   "queued",  "attempted", "parked",
                                                       "requeuing", "verdict", "ending"};
constexpr std::array<std::string_view, 11> request_events{"admit",       "again",          "park",    "release",
                                                          "fail",        "want",           "cancel",  "end run",
                                                          "driver lost", "record durable", "deadline"};

}  // namespace

void grid::add(const grid& other) {
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
}

std::size_t grid::visited() const {
  return static_cast<std::size_t>(std::count_if(counts_.begin(), counts_.end(), [](auto n) { return n > 0; }));
}

std::string grid::table() const {
  auto text = fmt::format("{}: {} of {} cells\n{:<16}", title_, visited(), cells(), "");
  for (const auto s : states_) text += fmt::format(" {:>10}", s);
  for (std::size_t e = 0; e < events_.size(); ++e) {
    text += fmt::format("\n{:<16}", events_[e]);
    for (std::size_t s = 0; s < states_.size(); ++s) {
      const auto n = counts_[s * events_.size() + e];
      text += n == 0 ? fmt::format(" {:>10}", "-") : fmt::format(" {:>10}", n);
    }
  }
  return text + "\n";
}

cells::cells()
    : gang_entries("entries of gangs, at an agent", entry_rows, entry_events),
      lease_entries("entries of leases, at an agent", entry_rows, entry_events),
      gang_attempts("attempts of gangs, at the coordinator", attempt_rows, attempt_events),
      leases("leases, at the coordinator", attempt_rows, attempt_events),
      gangs("gangs, at the coordinator", request_rows, request_events),
      stages("parallel stages, at the coordinator", request_rows, request_events) {}

void cells::add(const cells& other) {
  gang_entries.add(other.gang_entries);
  lease_entries.add(other.lease_entries);
  gang_attempts.add(other.gang_attempts);
  leases.add(other.leases);
  gangs.add(other.gangs);
  stages.add(other.stages);
}

}  // namespace hydrogen::gang::testing
