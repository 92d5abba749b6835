// What must hold after every step, and at the end.

#include "model_job.hpp"
#include "simulation.hpp"
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>

namespace hydrogen::gang::testing {

/// Of every agent.
bool simulation::all_slots_free() const {
  return std::all_of(nodes_.begin(), nodes_.end(), [](const auto& n) { return n.agent && n.agent->free() == n.slots; });
}

void simulation::final_checks() {
  if (rng.chance(0.3)) {
    // The coordinator never returns: agents free everything by themselves.
    gone_for_good_ = true;
    crash_coordinator();
    step_until(now + 200s);
    if (!broken_.empty()) return;
    if (!all_slots_free()) broken("without a coordinator an agent does not free its slots");
    for (const auto& [boot, x] : executors_) {
      if (x.alive) broken("without a coordinator an executor lives on");
    }
    return;
  }
  for (auto& job : jobs_) job->ending = true;
  step_until(now + 60s);
  if (!broken_.empty()) return;
  for (const auto& job : jobs_) {
    if (job->alive && !job->ended) broken("a run does not end: " + job->app.name);
  }
  if (!all_slots_free()) broken("when all is over, an agent does not show all slots free");
  if (coordinator_->account().total_free() != total_slots) {
    broken(fmt::format("when all is over the ledger shows {} of {} slots free", coordinator_->account().total_free(),
                       total_slots));
  }
  for (const auto& [boot, x] : executors_) {
    if (x.alive) broken("an executor outlives its run");
  }
  const auto status = coordinator_->status();
  if (!status.requests.empty() || !status.runs.empty()) broken("the coordinator still knows a request of an ended run");
}

/// Whoever is told that a gang was cancelled may rely on it that none of its ranks runs, but for those of an attempt
/// that was closed: where that is held still, its node was taken for dead, perhaps by an older coordinator.
void simulation::check_cancelled(const request_id& id) {
  for (const auto& n : nodes_) {
    if (!n.agent || coordinator_->account().find(n.agent->boot()) == nullptr) continue;
    for (const auto& e : n.agent->entries()) {
      if (e.ref.request == id && gos_.contains(e.ref) && !closed_.contains(e.ref))
        broken("a gang was called cancelled while a node held it");
    }
  }
}

/// The invariants, after every step in which a machine did something.
void simulation::check() {
  if (!std::exchange(changed_, false)) return;
  std::vector<std::uint32_t> used(nodes_.size());
  for (const auto& [boot, x] : executors_) {
    if (!x.alive) continue;
    for (const auto& [ref, l] : x.lanes) used[x.node] += l.slots;
    for (const auto& [task, came] : x.undecided) {
      if (now - came > 1s) broken("a task was neither run nor refused");
    }
  }
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    auto& n = nodes_[i];
    if (!n.agent) continue;
    std::uint32_t sum = 0;
    std::vector<attempt_ref> live;
    for (const auto& e : n.agent->entries()) {
      sum += e.slots;
      live.push_back(e.ref);
      if (n.ended.contains(e.ref)) broken("an entry came back to life");
      auto& [state, since] = n.since.try_emplace(e.ref, e.state, now).first->second;
      if (state != e.state) {
        state = e.state;
        since = now;
      }
      if (e.state == entry_state::reserved && !n.paused && now - since > reservation_options_.expiry + 1s) {
        broken("a reservation outlived its expiry");
      }
      const bool bounded = e.state != entry_state::running;
      if (bounded && now - since > 90s) broken("slots are held without running for too long");
    }
    std::erase_if(n.since, [&](const auto& s) { return std::find(live.begin(), live.end(), s.first) == live.end(); });
    if (sum + n.agent->free() != n.slots) broken("an agent's slots do not add up");
    resources taken;
    std::set<std::pair<std::string, std::uint32_t>> numbers;
    for (const auto& e : n.agent->entries()) {
      add(taken, e.each, e.slots);
      for (const auto& held : n.agent->devices_of(e.ref)) {
        for (const auto number : held.numbers) {
          if (!numbers.emplace(held.kind, number).second) broken("one device was given to two attempts");
        }
      }
    }
    if (taken.memory > n.has.memory) broken("an agent gave out more memory than its node has");
    for (const auto& d : taken.devices) {
      const auto has =
          std::find_if(n.has.devices.begin(), n.has.devices.end(), [&](auto& x) { return x.kind == d.kind; });
      if (std::count_if(numbers.begin(), numbers.end(), [&](auto& x) { return x.first == d.kind; }) != d.count) {
        broken("an attempt has another number of devices than it needs");
      }
      if (has == n.has.devices.end() ? d.count > 0 : d.count > has->count) broken("a device was given to two");
    }
    if (used[i] > n.slots) broken("executors use more slots than their node has");
    if (used[i] > sum) broken("a slot was freed before its executor was done with it");
    if (n.agent->term() < n.seen) broken("an agent went back to an older term");
    n.seen = n.agent->term();
    if (coordinator_) {
      const auto* node = coordinator_->account().find(n.agent->boot());
      if (node != nullptr && node->free() > n.agent->free()) broken("the ledger believes more free than is free");
    }
  }
  if (coordinator_ && rng.chance(0.01)) {
    for (const auto& r : coordinator_->status().requests) {
      if (r.state != "running" && r.reason.empty())
        broken("a request waits without a reason: " + to_string(r.id) + " " + r.state);
    }
  }
}

}  // namespace hydrogen::gang::testing
