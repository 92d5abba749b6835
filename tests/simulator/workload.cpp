// What is on the cluster of a seed: nodes, jobs and what they ask for.

#include "model_job.hpp"
#include "simulation.hpp"
#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace hydrogen::gang::testing {

void simulation::make_nodes() {
  const auto nodes = std::min<std::uint64_t>(1 + rng.below(4), options_.most_nodes);
  const auto varied = rng.chance(0.4);
  for (std::size_t i = 0; i < nodes; ++i) {
    auto& n = nodes_.emplace_back();
    n.name = fmt::format("n{}", i);
    n.slots = static_cast<std::uint32_t>(1 + rng.below(4));
    total_slots += n.slots;
    if (!varied) continue;
    n.has.memory = 4 * rng.below(n.slots + 1);
    if (rng.chance(0.7)) n.has.devices.push_back({"gpu", static_cast<std::uint32_t>(rng.below(n.slots + 1))});
    if (rng.chance(0.5)) n.labels.push_back("fast");
  }
  if (rng.chance(0.1)) admission_options_.queue.application_slots = total_slots / 2 + 1;
  admission_options_.queue.ageing = random(1s, 30s);
}

demand simulation::some_demand() {
  demand needs;
  if (rng.chance(0.3)) needs.each.memory = 1 + rng.below(4);
  if (rng.chance(0.3)) needs.each.devices.push_back({"gpu", 1, 1 + static_cast<std::uint32_t>(rng.below(3))});
  if (rng.chance(0.2)) needs.labels.push_back("fast");
  const auto how = rng.unit();
  needs.how = how < 0.2 ? placement::spread : how < 0.4 ? placement::one_node : placement::pack;
  return needs;
}

/// What no cluster of these nodes could ever give.
bool simulation::never_fits(const slot_request& what) const {
  std::uint64_t room = 0;
  for (const auto& n : nodes_) {
    const std::uint64_t here = node_size{n.slots, n.has, n.labels}.room(what.needs);
    room = what.needs.how == placement::one_node ? std::max(room, here) : room + here;
  }
  const auto most = admission_options_.queue.application_slots;
  return what.least > room || (most > 0 && what.least > most);
}

void simulation::make_jobs() {
  const auto jobs = std::min<std::uint64_t>(2 + rng.below(2), options_.most_jobs);
  const auto ranked = rng.chance(0.4);
  const auto varied = rng.chance(0.4);
  for (std::uint32_t i = 0; i < jobs; ++i) {
    application_ref app;
    app.run = {options_.seed, i + 1};
    app.name = fmt::format("app{}", i);
    auto job = std::make_unique<model_job>(*this, app);
    const auto requests = std::min<std::uint64_t>(1 + rng.below(3), options_.most_requests);
    for (std::uint32_t k = 0; k < requests; ++k) {
      slot_request what;
      what.id = {app.run, 0, k, 0};
      what.app = app;
      what.label = fmt::format("{} stage {}", app.name, k);
      if (ranked) what.priority = static_cast<std::int32_t>(rng.below(3)) - 1;
      if (varied && rng.chance(0.6)) what.needs = some_demand();
      if (rng.chance(0.6)) {
        what.kind = request_kind::gang;
        const bool too_big = rng.chance(0.05);
        what.least = static_cast<std::uint32_t>(1 + rng.below(total_slots) + (too_big ? total_slots : 0));
        what.most = what.least + (rng.chance(0.2) ? static_cast<std::uint32_t>(rng.below(4)) : 0);
        job->gangs[what.id].what = what;
      } else {
        auto& s = job->stages[what.id];
        s.to_do = static_cast<std::uint32_t>(1 + rng.below(12));
        what.most = s.to_do;
        s.what = what;
      }
      if (never_fits(what)) denied_rightly.insert(what.id);
    }
    jobs_.push_back(std::move(job));
  }
}

}  // namespace hydrogen::gang::testing
