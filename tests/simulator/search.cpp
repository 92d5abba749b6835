#include "search.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>

namespace hydrogen::gang::testing {
namespace {

/// Without what differs from seed to seed: names and numbers.
bool is_the_same(const std::string& a, const std::string& b) {
  const auto words = [](const std::string& text) { return text.substr(0, text.find_first_of(":0123456789")); };
  return words(a) == words(b);
}

}  // namespace

std::optional<breakage> run_one(const simulation_options& options, std::FILE* trace, cells* visited) {
  simulation cluster(options, trace);
  auto broken = cluster.run();
  if (visited != nullptr) visited->add(cluster.visited);
  if (broken.empty()) return std::nullopt;
  return breakage{options, std::move(broken), cluster.broken_at().time_since_epoch()};
}

search_result search(const simulation_options& options, range seeds, std::uint32_t threads, std::size_t most_failures) {
  search_result all;
  std::mutex mutex;
  std::atomic<std::uint64_t> next{0};
  std::atomic<bool> enough{false};
  const auto work = [&] {
    cells visited;
    std::uint64_t ran = 0;
    std::vector<breakage> failures;
    while (!enough) {
      const auto n = next.fetch_add(1);
      if (n > seeds.last - seeds.first) break;
      auto mine = options;
      mine.seed = seeds.first + n;
      ++ran;
      auto found = run_one(mine, nullptr, &visited);
      if (!found) continue;
      const std::lock_guard lock(mutex);
      all.failures.push_back(std::move(*found));
      enough = all.failures.size() >= most_failures;
    }
    const std::lock_guard lock(mutex);
    all.seeds += ran;
    all.visited.add(visited);
  };
  std::vector<std::thread> others;
  for (std::uint32_t i = 1; i < threads; ++i) others.emplace_back(work);
  work();
  for (auto& t : others) t.join();
  std::sort(all.failures.begin(), all.failures.end(),
            [](const auto& a, const auto& b) { return a.options.seed < b.options.seed; });
  return all;
}

cancelled_everywhere cancel_everywhere(const simulation_options& options, range seeds) {
  cancelled_everywhere all;
  for (auto seed = seeds.first; seed <= seeds.last; ++seed) {
    auto mine = options;
    mine.seed = seed;
    mine.allowed = {};
    // Later on, where most steps are repeats and ends of tasks, not every one.
    for (std::uint64_t steps = 0;; steps += 1 + steps / 100) {
      simulation cluster(mine);
      const auto states = cluster.cancel_after(steps);
      for (const auto& state : states) ++all.states[state];
      if (!cluster.what_broke().empty()) {
        all.failures.push_back({steps, {mine, cluster.what_broke(), cluster.broken_at().time_since_epoch()}});
      }
      if (states.empty()) break;
    }
  }
  return all;
}

breakage shrink(const breakage& found, std::uint64_t tries) {
  auto best = found;
  const auto breaks_too = [&](simulation_options options) -> std::optional<breakage> {
    for (std::uint64_t i = 0; i < tries; ++i) {
      options.seed = best.options.seed + i;
      if (auto other = run_one(options); other && is_the_same(other->invariant, found.invariant)) return other;
    }
    return std::nullopt;
  };
  for (bool simpler = true; std::exchange(simpler, false);) {
    const auto keep_if_it_breaks = [&](const simulation_options& options) {
      if (auto other = breaks_too(options)) {
        best = std::move(*other);
        simpler = true;
      }
    };
    for (auto size :
         {&simulation_options::most_requests, &simulation_options::most_jobs, &simulation_options::most_nodes}) {
      if (best.options.*size == 1) continue;
      auto fewer = best.options;
      --(fewer.*size);
      keep_if_it_breaks(fewer);
    }
    for (const auto kind : best.options.allowed.list()) {
      auto fewer = best.options;
      fewer.allowed = fewer.allowed.without(kind);
      keep_if_it_breaks(fewer);
    }
  }
  auto soonest = best;
  for (std::uint64_t i = 0; i < tries; ++i) {
    auto options = best.options;
    options.seed = best.options.seed + i;
    auto other = run_one(options);
    if (other && is_the_same(other->invariant, found.invariant) && other->after < soonest.after)
      soonest = std::move(*other);
  }
  return soonest;
}

}  // namespace hydrogen::gang::testing
