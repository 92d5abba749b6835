#include "collective_race.hpp"

#include "collective_limits.hpp"
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <thread>

namespace hydrogen::bench {
namespace {

/// The same ranks, with their numbers in buffers of the gang.
class with_gang_buffers : public collective_system {
 public:
  explicit with_gang_buffers(std::shared_ptr<collective_system> ranks) : ranks_(std::move(ranks)) {}
  std::string name() const override { return ranks_->name(); }
  expected<std::vector<double>> run(const timed_call& c) override {
    auto shared = c;
    shared.operation += shared_suffix;
    return ranks_->run(shared);
  }

 private:
  std::shared_ptr<collective_system> ranks_;
};

}  // namespace

const std::vector<std::string>& known_peers() {
  static const std::vector<std::string> names{"gloo", "mpi"};
  return names;
}

bool is_peer(contender c) {
  return c == contender::gloo || c == contender::open_mpi;
}

const char* title_of(contender c) {
  switch (c) {
    case contender::addition:
      return "the addition alone";
    case contender::threads:
      return "threads";
    case contender::shared:
      return "processes, gang buffers";
    case contender::processes:
      return "processes";
    case contender::staged:
      return "processes, staged";
    case contender::tcp:
      return "processes over TCP";
    case contender::exchange:
      return "plain exchange";
    case contender::gloo:
      return "Gloo";
    case contender::open_mpi:
      return "Open MPI";
  }
  return "";
}

collective_race::collective_race(session& s, int ranks, std::vector<std::string>& peers) : session_(s), ranks_(ranks) {
  systems_[contender::addition] = fused_kernel(ranks);
  take(contender::threads, start_hydrogen(ranks, gang_place::threads));
  take(contender::processes, start_hydrogen(ranks, gang_place::processes));
  systems_[contender::shared] = std::make_shared<with_gang_buffers>(systems_[contender::processes]);
  take(contender::staged, start_hydrogen(ranks, gang_place::staged_processes));
  take(contender::tcp, start_hydrogen(ranks, gang_place::processes_over_tcp));
  if (ranks == 2) take(contender::exchange, plain_exchange());
  std::erase_if(peers, [&](const std::string& peer) {
    return !(peer == "gloo" ? take(contender::gloo, start_gloo(ranks))
                            : take(contender::open_mpi, start_open_mpi(ranks)));
  });
  const bool crowded = static_cast<unsigned>(ranks) > std::thread::hardware_concurrency();
  if (crowded && systems_.contains(contender::open_mpi)) {
    s.remark(fmt::format("{} ranks share {} cores: Open MPI runs with --oversubscribe --mca mpi_yield_when_idle 1",
                         ranks, std::thread::hardware_concurrency()));
  }
}

std::string collective_race::name(contender c) const {
  const auto at = systems_.find(c);
  if (at == systems_.end()) return {};
  return at->second->name() == "Hydrogen" ? title_of(c) : at->second->name();
}

bool collective_race::take(contender c, started_system s) {
  if (s) {
    systems_[c] = std::move(*s);
    return true;
  }
  // A peer may be missing; our own ranks may not.
  if (!is_peer(c)) throw failure(s.error());
  session_.remark(s.error().code == errc::not_found
                      ? s.error().message()
                      : fmt::format("{} does not start: {}", title_of(c), s.error().message()));
  return false;
}

bool collective_race::ask(contender c, const timed_call& call, std::vector<double>& times) {
  auto answer = systems_.at(c)->run(call);
  if (answer) {
    times = std::move(*answer);
    return true;
  }
  if (!is_peer(c)) throw failure(answer.error());
  session_.remark(fmt::format("{} fails in {} of {} B by {} ranks and is left out from here: {}", title_of(c),
                              call.operation, call.bytes, ranks_, answer.error().message()));
  systems_.erase(c);
  return false;
}

int collective_race::rounds_of(const timed_call& c) const {
  // Where a call takes microseconds, most depends on which cores the ranks happen to be on, and rounds cost little.
  return session_.rounds(c.bytes < starts_together_from && c.idle_us == 0 ? 15 : 7);
}

timed_call collective_race::fitted(timed_call c, contender who) {
  // The kernel takes milliseconds to give ranks that have slept a core each.
  const double warm_up_us = session_.quick() ? 100 : 15'000, round_us = session_.quick() ? 300 : 45'000;
  auto trial = c;
  trial.warm_up = 1;
  trial.iterations = 3;
  std::vector<double> times;
  if (!ask(who, trial, times)) return c;
  const double one_us = median(std::move(times)) + c.idle_us;
  c.warm_up = static_cast<int>(std::clamp(warm_up_us / one_us, 1.0, 20'000.0));
  c.iterations = static_cast<int>(std::clamp(round_us / one_us, 3.0, 5'000.0));
  return c;
}

race_result collective_race::run(const timed_call& c, const std::vector<contender>& who) {
  std::map<contender, timed_call> calls;
  for (const auto one : who) {
    if (systems_.contains(one)) calls[one] = c.iterations > 0 ? c : fitted(c, one);
  }
  race_result all;
  std::vector<double> times;
  for (int round = 0; round < rounds_of(c); ++round) {
    for (const auto one : who) {
      if (!systems_.contains(one)) continue;
      if (!ask(one, calls[one], times)) {
        all.erase(one);
        continue;
      }
      auto& figures = all[one];
      figures.rounds.push_back(median(times));
      figures.samples.insert(figures.samples.end(), times.begin(), times.end());
    }
  }
  return all;
}

}  // namespace hydrogen::bench
