// `admission`: the control plane of gangs: coordinator, its journal on disk, agents and executors. Ranks do nothing.
//
// All of that is real, user code and the job machine apart: the driver's side is `gang_driver`, and the ranks' function
// is empty, but they are tasks like any other, which are sent to warm executors, meet, wait for the Go and return.
//
// Where n > 1, a gang of n ranks lies on n agents in one of two ways. Side by side: each agent has a slot for each gang
// in flight, and gangs are spread. In turns: each agent has one slot, so a gang takes all there are, and of those in
// flight one runs while the others wait in the queue.

#include <hydrogen/gang/journal_format.hpp>
#include <hydrogen/gang/record.hpp>

#include "bench.hpp"
#include "engine.hpp"
#include "gang_driver.hpp"
#include "limits.hpp"
#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace hydrogen::bench {
namespace {

constexpr std::uint32_t in_flight = 16;

/// What the journal takes for a gang: Submitted, Go and Closed.
std::size_t journal_bytes(std::uint32_t members) {
  gang::submitted_record submitted;
  submitted.request.app = bench_application();
  submitted.request.label = "idle gang";
  gang::go_record go;
  for (std::uint32_t i = 0; i < members; ++i) {
    go.members.push_back({fmt::format("n{}", i + 1), {}, {}, {}, 1, {i}});
  }
  std::size_t bytes = 0;
  for (const gang::record_body& body :
       {gang::record_body(submitted), gang::record_body(go), gang::record_body(gang::closed_record{})}) {
    bytes += gang::journal_format::header_size + gang::encode_record({{}, body}).size();
  }
  return bytes;
}

struct admission_case {
  std::string name;
  actors::cluster_kind kind;
  std::uint32_t members;
  std::uint32_t agents;
  std::uint32_t slots;  // of each agent
  std::uint64_t gangs;
  double aim;  // a second
  std::string note;
  bool spread() const { return members > 1 && slots > 1; }
};

/// Gangs a second if nothing were to do but: the records of all in flight written and synced at once, and the threads
/// of their ranks woken; over processes also three rounds to the agent and the executor of each member: reserve and its
/// answer, the rank and its result, and the end. Before threads are there, since it forks.
double least(session& s, const admission_case& c, const std::string& folder) {
  const auto threads = static_cast<int>(in_flight * c.members);
  auto ms = sync_and_wake_ms(folder, threads, s.rounds(100), in_flight * journal_bytes(c.members));
  if (c.kind == actors::cluster_kind::processes) ms += three_rounds_ms(static_cast<int>(2 * c.members), s.rounds(100));
  return in_flight / ms * 1e3;
}

/// Of consecutive pieces of the whole.
std::vector<double> rates(const gang_times& times, std::size_t pieces) {
  pieces = std::min(pieces, times.closed.size());
  const auto n = times.closed.size() / pieces;
  std::vector<double> all;
  auto begin = times.begin;
  for (auto end = n - 1; end < times.closed.size(); end += n) {
    all.push_back(static_cast<double>(n) / milliseconds(times.closed[end] - begin) * 1e3);
    begin = times.closed[end];
  }
  return all;
}

actors::cluster_options cluster_of(const admission_case& c) {
  actors::cluster_options options;
  options.kind = c.kind;
  options.nodes = c.agents;
  options.slots = c.slots;
  options.durable_journal = true;
  return options;
}

void measure(session& s, const admission_case& c, double limit) {
  engine e(cluster_of(c));
  gang_driver driver(e.cluster());
  const auto gangs = std::max<std::uint64_t>(in_flight, s.scaled(c.gangs));
  // Gangs cost more until processes have the threads and the memory that they keep: the first 400 or so on 40 nodes.
  const auto warm_up = std::max<std::uint64_t>(4 * in_flight, gangs / 4);
  (void)driver.run({c.members, in_flight, warm_up, c.spread()});
  const auto times = driver.run({c.members, in_flight, gangs, c.spread()});
  auto note = c.note;
  if (times.members != c.members) note += fmt::format("{}{:.1f} members each", note.empty() ? "" : "; ", times.members);
  s.report(
      {c.name, fmt::format("{} on {} agents", c.members, c.agents), "1/s", rates(times, 20),
       reference{c.kind == actors::cluster_kind::processes ? "a sync, wakes, 3 rounds by 16" : "a sync, wakes by 16",
                 limit},
       goal{goal::kind::at_least, c.aim}, std::move(note)});
}

void submit_to_granted(session& s, double limit) {
  admission_case c{"", actors::cluster_kind::in_process, 1, 1, 16, 5'000, 0, ""};
  engine e(cluster_of(c));
  gang_driver driver(e.cluster());
  (void)driver.run({1, 1, in_flight});
  const auto times = driver.run({1, 1, std::max<std::uint64_t>(in_flight, s.scaled(c.gangs))});
  std::vector<double> all;
  for (const auto d : times.to_granted) all.push_back(microseconds(d));
  const auto slowest = p99(all);
  auto note = fmt::format("p99 goal 500 us{}", s.quick() ? "" : slowest <= 500 ? " met" : " MISSED");
  if (const auto untold = times.closed.size() - all.size(); untold > 0) note += fmt::format("; {} ended first", untold);
  s.report({"embedded, submit to granted", "1 on 1 agents", "us", std::move(all),
            reference{"a sync, a thread woken", limit}, goal{goal::kind::at_most, 150}, std::move(note)});
}

void admission(session& s) {
  constexpr auto in_process = actors::cluster_kind::in_process, processes = actors::cluster_kind::processes;
  const std::string turns = "one at a time has all slots", side = "a member on each agent";
  // Quick: few processes.
  const auto few = [&](std::uint32_t n) { return s.quick() ? std::min(n, 3u) : n; };
  const std::vector<admission_case> cases{
      {"embedded", in_process, 1, 1, in_flight, 20'000, 20'000, ""},
      {"embedded, in turns", in_process, few(10), few(10), 1, 4'000, 4'000, turns},
      {"embedded, in turns", in_process, few(40), few(40), 1, 1'000, 1'000, turns},
      {"embedded, side by side", in_process, few(10), few(10), in_flight, 4'000, 4'000, side},
      {"embedded, side by side", in_process, few(40), few(40), in_flight, 1'000, 1'000, side},
      {"processes", processes, 1, 1, in_flight, 20'000, 10'000, ""},
      {"processes, in turns", processes, few(10), few(10), 1, 2'000, 2'000, turns},
      {"processes, in turns", processes, few(40), few(40), 1, 500, 500, turns},
      {"processes, side by side", processes, few(10), few(10), in_flight, 6'000, 2'000, side},
      {"processes, side by side", processes, few(40), few(40), in_flight, 2'000, 500, side},
  };
  std::vector<double> limits;
  const scratch_folder folder;
  for (const auto& c : cases) limits.push_back(least(s, c, folder.path()));
  const auto granted = sync_and_wake_ms(folder.path(), 1, s.rounds(500), journal_bytes(1)) * 1e3;
  submit_to_granted(s, granted);
  for (std::size_t i = 0; i < cases.size(); ++i) measure(s, cases[i], limits[i]);
}

const registration admission_registered{"admission", "gangs admitted, started and closed a second; submit to granted",
                                        admission};

}  // namespace
}  // namespace hydrogen::bench
