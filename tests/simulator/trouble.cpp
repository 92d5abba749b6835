#include "trouble.hpp"

#include <algorithm>
#include <array>

namespace hydrogen::gang::testing {
namespace {

constexpr std::array<std::string_view, trouble_kinds> names{
    "drop",       "repeat",     "slow",   "timers",         "coordinator-crash", "old-coordinator", "full-disk",
    "node-crash", "cut",        "pause",  "executor-death", "start-fails",       "bad-library",     "slow-start",
    "stop-hangs", "rank-fails", "cancel", "park",           "driver-crash",      "driver-away",     "drain"};

troubles these(std::initializer_list<trouble> kinds) {
  troubles some;
  for (const auto t : kinds) some = some.with(t);
  return some;
}

}  // namespace

troubles troubles::all() {
  troubles every;
  every.kinds_.set();
  return every;
}

troubles troubles::with(trouble t) const {
  auto more = *this;
  more.kinds_.set(static_cast<std::size_t>(t));
  return more;
}

troubles troubles::without(trouble t) const {
  auto fewer = *this;
  fewer.kinds_.reset(static_cast<std::size_t>(t));
  return fewer;
}

std::vector<trouble> troubles::list() const {
  std::vector<trouble> kinds;
  for (std::size_t i = 0; i < trouble_kinds; ++i) {
    if (kinds_.test(i)) kinds.push_back(static_cast<trouble>(i));
  }
  return kinds;
}

std::string troubles::to_string() const {
  std::string text;
  for (const auto t : list()) {
    if (!text.empty()) text += ',';
    text += name_of(t);
  }
  return text.empty() ? "none" : text;
}

std::string_view name_of(trouble t) {
  return names.at(static_cast<std::size_t>(t));
}

std::optional<trouble> trouble_named(std::string_view name) {
  const auto at = std::find(names.begin(), names.end(), name);
  if (at == names.end()) return std::nullopt;
  return static_cast<trouble>(at - names.begin());
}

const std::vector<profile>& profiles() {
  using enum trouble;
  static const std::vector<profile> all{
      {"all", "everything that may go wrong, at rates that differ by seed", troubles::all()},
      {"none", "nothing goes wrong", {}},
      {"network", "messages are lost, repeated, slow; nodes and drivers lose contact",
       these({drop, repeat, slow, timers, cut, pause, driver_away})},
      {"restarts", "the coordinator alone crashes, now and then, and is soon back",
       these({coordinator_crash, old_coordinator, timers})},
      {"members", "nodes, executors and ranks fail, on a good network",
       these(
           {node_crash, executor_death, start_fails, bad_library, slow_start, stop_hangs, rank_fails, pause, timers})},
  };
  return all;
}

}  // namespace hydrogen::gang::testing
