// hydrogen-bench: the menu.

#include <hydrogen/base/log.hpp>
#include <hydrogen/base/nearest.hpp>

#include "bench.hpp"
#include "collective_rank.hpp"
#include "coordinator_memory.hpp"
#include <cli/command_line.hpp>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <sstream>
#include <string>

namespace {

using namespace hydrogen;
using namespace hydrogen::bench;

int run(const std::vector<benchmark>& chosen, const session_options& options, const std::string& json) {
  const auto machine = this_machine();
  fmt::print("{}, {} cores, {:.1f} GiB, {}, {}, load {:.2f}{}\n\n", machine.cpu, machine.cores, machine.memory_gib,
             machine.kernel, machine.compiler, machine.load,
#ifdef NDEBUG
             ""
#else
             "; NOT AN OPTIMISED BUILD"
#endif
  );
  if (options.quick) fmt::print("quick: a hundredth of the work; the figures mean nothing\n\n");
  session s(options);
  int code = 0;
  for (const auto& b : chosen) {
    s.start(b.name);
    try {
      b.run(s);
    } catch (const std::exception& e) {
      fmt::print(stderr, "hydrogen-bench: {}: {}\n", b.name, e.what());
      code = 1;
    }
  }
  if (!json.empty()) {
    if (const auto written = write_json(json, machine, s); !written) {
      fmt::print(stderr, "hydrogen-bench: {}\n", written.error().message());
      return 1;
    }
  }
  return code;
}

/// Where `name` stands among what is known; else says so.
std::optional<std::size_t> place_of(const char* kind, const std::string& name, const std::vector<std::string>& known) {
  const auto at = std::find(known.begin(), known.end(), name);
  if (at != known.end()) return static_cast<std::size_t>(at - known.begin());
  const auto near = nearest_name(name, known);
  fmt::print(
      stderr, "hydrogen-bench: no {} '{}'{}\n", kind, name,
      near ? fmt::format(", did you mean '{}'?", *near) : fmt::format("; there are: {}", fmt::join(known, ", ")));
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  start_logging("bench", "error");
  if (argc > 1 && std::string(argv[1]) == collective_rank_flag) {
    return run_collective_ranks({argv + 2, argv + argc});
  }
  if (argc > 1 && std::string(argv[1]) == coordinator_memory_flag)
    return run_coordinator_memory({argv + 2, argv + argc});
  auto known = benchmarks();
  std::sort(known.begin(), known.end(), [](const auto& a, const auto& b) { return a.name < b.name; });

  cli::command_line line("hydrogen-bench",
                         "Measure Hydrogen beside the limits of this machine and its peers, in the same run",
                         "hydrogen-bench [OPTIONS] [NAME...]");
  std::vector<std::string> names;
  std::string json;
  std::string beside;
  session_options options;
  bool list = false;
  line.arguments_left("NAME", names, "Benchmarks to run, in this order; none: all", false);
  line.text("--json", json, "FILE", "Write the figures and the machine to FILE, too");
  line.toggle("--list", list, "Print the menu and end");
  line.text("--beside", beside, "LIST", fmt::format("Peers for `collectives`: {}", fmt::join(known_peers(), ",")));
  line.text("--plot", options.plot_file, "FILE", "Draw the figures of `collectives` into FILE, as SVG");
  line.toggle("--write", options.write_table, "`tune` keeps the table that it measured, for this machine");
  line.number("--hosts", options.hosts, 0, 4096, "N", "Hosts that `scale` simulates; 0: a table of several");
  line.number("--ranks-per-host", options.ranks_per_host, 1, 4096, "N", "Ranks on each of these");
  line.number("--gbit", options.gbit, 0.001, 10'000, "RATE", "Rate in Gbit/s of a simulated host, or of --shape-with");
  line.number("--latency-us", options.latency_us, 0, 1e6, "TIME", "Time in us between simulated hosts");
  line.number("--delay-us", options.delay_us, 0, 1e6, "TIME", "`network`: bytes between ranks are held so long, in us");
  line.text("--shape-with", options.shape_with, "COMMAND", "`network`: gives the loopback device the rate --gbit");
  line.toggle("--quick", options.quick, "A hundredth of the work, to see that everything runs");
  line.footer(
      "Ratios above 1 are better than what stands beside. Polars, DuckDB and PyTorch are measured if python3 can\n"
      "import them, Gloo and Open MPI if they are asked for and were installed when this was built.\n"
      "Exit codes: 0 done, 1 a benchmark failed, 2 bad input.");
  const auto outcome = line.read(cli::arguments(argv + 1, argv + argc));
  if (outcome.wants_help) {
    fmt::print("{}", line.help());
    return 0;
  }
  if (!outcome.problem.empty()) {
    fmt::print(stderr, "hydrogen-bench: {}\nTry 'hydrogen-bench --help'.\n", outcome.problem);
    return 2;
  }
  if (list) {
    for (const auto& b : known) fmt::print("{:<10} {}\n", b.name, b.summary);
    return 0;
  }
  std::vector<benchmark> chosen;
  std::vector<std::string> known_names;
  for (const auto& b : known) known_names.push_back(b.name);
  for (const auto& name : names) {
    const auto at = place_of("benchmark", name, known_names);
    if (!at) return 2;
    chosen.push_back(known[*at]);
  }
  std::istringstream peers(beside);
  for (std::string peer; std::getline(peers, peer, ',');) {
    if (!place_of("peer", peer, known_peers())) return 2;
    options.beside.push_back(peer);
  }
  return run(names.empty() ? known : chosen, options, json);
}
