// hydrogen-sim: gang admission in simulated clusters where everything goes wrong.

#include <hydrogen/base/cpus.hpp>
#include <hydrogen/base/nearest.hpp>

#include "search.hpp"
#include <cli/command_line.hpp>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <functional>
#include <memory>

namespace {

using namespace hydrogen;
using namespace hydrogen::gang::testing;

struct settings {
  range seeds{1, 1000};
  simulation_options cluster;
  std::uint32_t threads = usable_cpus();
  std::uint32_t tries = 300;
  std::string trace;
  bool shrink = false;
  bool cells = false;
  bool cancel = false;
};

std::optional<range> parse_range(const std::string& text) {
  range r;
  const auto dots = text.find("..");
  const auto number = [](std::string_view part, std::uint64_t& into) {
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), into);
    return error == std::errc{} && end == part.data() + part.size();
  };
  const std::string_view all(text);
  if (!number(all.substr(0, dots), r.first)) return std::nullopt;
  r.last = r.first;
  if (dots != std::string::npos && !number(all.substr(dots + 2), r.last)) return std::nullopt;
  if (r.first > r.last) return std::nullopt;
  return r;
}

int bad(const std::string& problem) {
  fmt::print(stderr, "hydrogen-sim: {}\nTry 'hydrogen-sim --help'.\n", problem);
  return 2;
}

std::string no_such(const std::string& what, const std::string& name, const std::vector<std::string>& known) {
  const auto near = nearest_name(name, known);
  return fmt::format(
      "no {} '{}'{}", what, name,
      near ? fmt::format(", did you mean '{}'?", *near) : fmt::format("; there are: {}", fmt::join(known, ", ")));
}

/// Names of troubles, by commas; what is wrong with them, or nothing.
std::string parse_only(const std::string& text, troubles& into) {
  std::vector<std::string> known;
  for (const auto t : troubles::all().list()) known.emplace_back(name_of(t));
  into = {};
  for (std::size_t at = 0; at <= text.size();) {
    const auto end = std::min(text.find(',', at), text.size());
    const auto name = text.substr(at, end - at);
    at = end + 1;
    if (name == "none") continue;
    const auto t = trouble_named(name);
    if (!t) return no_such("trouble", name, known);
    into = into.with(*t);
  }
  return {};
}

std::string replay_of(const breakage& f) {
  return fmt::format("hydrogen-sim --seeds {} --nodes {} --jobs {} --requests {} --only {}", f.options.seed,
                     f.options.most_nodes, f.options.most_jobs, f.options.most_requests, f.options.allowed.to_string());
}

void print(const breakage& f) {
  fmt::print("seed {}, after {:.3f} s: {}\n", f.options.seed, std::chrono::duration<double>(f.after).count(),
             f.invariant);
}

/// False: the file cannot be written.
bool write_trace(const std::string& path, const std::function<void(std::FILE*)>& run) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "w"), std::fclose);
  const bool written = file && (run(file.get()), std::ferror(file.get()) == 0);
  if (!written) fmt::print(stderr, "hydrogen-sim: cannot write {}\n", path);
  return written;
}

int run_cancelled(const settings& s) {
  const auto found = cancel_everywhere(s.cluster, s.seeds);
  for (const auto& [state, times] : found.states) fmt::print("{:>8}  {}\n", times, state);
  fmt::print("{} were not free a second after all was cancelled\n", found.failures.size());
  for (const auto& [steps, f] : found.failures) {
    fmt::print("after {} steps, ", steps);
    print(f);
  }
  if (found.failures.empty()) return 0;
  const auto& [steps, first] = found.failures.front();
  const auto again = [&](auto* to) { simulation(first.options, to).cancel_after(steps); };
  return s.trace.empty() || write_trace(s.trace, again) ? 1 : 2;
}

int run(const settings& s) {
  const auto begun = std::chrono::steady_clock::now();
  const auto found = search(s.cluster, s.seeds, s.threads, 10);
  const auto took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  if (s.cells) {
    for (const auto* g : found.visited.all()) fmt::print("{}\n", g->table());
  }
  std::size_t visited = 0, cells = 0;
  for (const auto* g : found.visited.all()) {
    visited += g->visited();
    cells += g->cells();
  }
  fmt::print("{} seeds, {} broke an invariant; {} of {} cells visited; {:.1f} s on {} threads\n", found.seeds,
             found.failures.size(), visited, cells, took, s.threads);
  for (const auto& f : found.failures) print(f);
  auto told = s.cluster;
  told.seed = s.seeds.first;
  if (!found.failures.empty()) {
    auto shown = found.failures.front();
    if (s.shrink) {
      shown = shrink(shown, s.tries);
      fmt::print("the shortest way found to break the same:\n");
      print(shown);
    }
    fmt::print("replay: {}\n", replay_of(shown));
    told = shown.options;
  }
  if (!s.trace.empty() && !write_trace(s.trace, [&](auto* to) { run_one(told, to); })) return 2;
  return found.failures.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  cli::command_line line(
      "hydrogen-sim",
      "Run the machines of gang admission in simulated clusters where everything goes wrong, and check "
      "their invariants after every step",
      "hydrogen-sim [OPTIONS]");
  settings s;
  std::string seeds = "1..1000", profile = "all", only;
  std::vector<std::string> names;
  std::string menu = "Profiles:\n";
  for (const auto& p : profiles()) {
    names.push_back(p.name);
    menu += fmt::format("  {:<10} {}\n", p.name, p.summary);
  }
  line.text("--seeds", seeds, "A..B", "Which clusters: every seed is one, and the same every time");
  line.choice("--profile", profile, names, "NAME", "What may go wrong");
  line.text("--only", only, "TROUBLE,...", "What may go wrong, one by one; instead of a profile");
  line.number("--nodes", s.cluster.most_nodes, 1, 16, "N", "At most so many nodes");
  line.number("--jobs", s.cluster.most_jobs, 1, 16, "N", "At most so many jobs");
  line.number("--requests", s.cluster.most_requests, 1, 16, "N", "At most so many requests of each job");
  line.number("--threads", s.threads, 1, 1024, "N", "How many clusters at a time");
  line.text("--trace", s.trace, "FILE", "Write what happens in the first that fails, or in the first of all");
  line.toggle("--shrink", s.shrink, "Look for the shortest way to break what the first failure broke");
  line.number("--tries", s.tries, 1, 1'000'000, "N", "Seeds for each step of --shrink");
  line.toggle("--cancel-everywhere", s.cancel,
              "Nothing goes wrong, but all is cancelled, after each step in turn; a second later all must be free");
  line.toggle("--cells", s.cells, "Print how often each event met each state");
  line.footer(menu + "Troubles: " + troubles::all().to_string() +
              "\n\nExit codes: 0 all held, 1 an invariant was broken, 2 bad input.");
  const auto outcome = line.read(cli::arguments(argv + 1, argv + argc));
  if (outcome.wants_help) {
    fmt::print("{}", line.help());
    return 0;
  }
  if (!outcome.problem.empty()) return bad(outcome.problem);
  const auto range = parse_range(seeds);
  if (!range) return bad(fmt::format("--seeds: '{}' is not A..B with A <= B, or one number", seeds));
  s.seeds = *range;
  for (const auto& p : profiles()) {
    if (p.name == profile) s.cluster.allowed = p.kinds;
  }
  if (!only.empty()) {
    if (const auto problem = parse_only(only, s.cluster.allowed); !problem.empty()) return bad("--only: " + problem);
  }
  return s.cancel ? run_cancelled(s) : run(s);
}
