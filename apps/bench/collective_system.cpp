#include "collective_system.hpp"

#include "delaying_relay.hpp"
#include "engine.hpp"
#include "line_child.hpp"
#include "process.hpp"
#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>
#include <thread>

namespace hydrogen::bench {
namespace {

constexpr auto start_limit = 20s;
constexpr auto run_limit = 30s;

/// Child processes that know each other; the first answers.
class system_of_children : public collective_system {
 public:
  /// `told`: how many of them take the commands.
  system_of_children(std::vector<std::unique_ptr<line_child>> children, std::size_t told)
      : children_(std::move(children)), told_(told) {}

  ~system_of_children() override {
    for (const auto& c : children_) c->end_input();
  }

  std::string name() const override { return name_; }

  /// Waits for "ready NAME".
  expected<void> await_ready() {
    auto line = children_[0]->hear(now() + start_limit);
    if (line && line->starts_with("ready ")) {
      name_ = line->substr(6);
      return {};
    }
    return given_up(line ? error{errc::internal, "it says: " + *line, {}, {}} : line.error());
  }

  expected<std::vector<double>> run(const timed_call& c) override {
    for (std::size_t i = 0; i < told_; ++i) {
      if (auto said = children_[i]->say(to_line(c)); !said) return given_up(said.error());
    }
    const auto line = children_[0]->hear(now() + run_limit);
    if (!line) return given_up(line.error());
    std::istringstream in(*line);
    std::string word;
    in >> word;
    std::vector<double> times;
    for (double t = 0; in >> t;) times.push_back(t);
    if (word != "times" || times.empty()) return given_up({errc::task_failed, "it says: " + *line, {}, {}});
    return times;
  }

 private:
  unexpected given_up(error why) {
    for (const auto& c : children_) c->give_up();
    return unexpected(std::move(why));
  }

  std::vector<std::unique_ptr<line_child>> children_;
  std::size_t told_;
  std::string name_;
};

started_system when_ready(std::unique_ptr<system_of_children> s) {
  if (auto ready = s->await_ready(); !ready) return unexpected(ready.error());
  return s;
}

/// Ranks, and the wires between them.
class delayed_system : public system_of_children {
 public:
  delayed_system(std::vector<std::unique_ptr<line_child>> children, std::vector<std::unique_ptr<delaying_relay>> wires)
      : system_of_children(std::move(children), wires.size()), wires_(std::move(wires)) {}

 private:
  std::vector<std::unique_ptr<delaying_relay>> wires_;
};

/// Gloo's ranks, and the files through which they meet.
class gloo_system : public system_of_children {
 public:
  gloo_system(std::vector<std::unique_ptr<line_child>> children, std::unique_ptr<scratch_folder> folder)
      : system_of_children(std::move(children), children.size()), folder_(std::move(folder)) {}

 private:
  std::unique_ptr<scratch_folder> folder_;
};

std::string peer_program(const char* name) {
  return program_folder() + "/" + name;
}

unexpected not_installed(const char* peer) {
  return fail(errc::not_found, fmt::format("{} is not installed, or was not when this was built", peer));
}

}  // namespace

started_system start_hydrogen(int ranks, gang_place place, duration delay) {
  const int processes = place == gang_place::threads ? 1 : ranks;
  const auto variable = collective_key_variable(comm::secret::random());
  std::vector<std::unique_ptr<line_child>> children;
  for (int i = 0; i < processes; ++i) {
    auto child = line_child::start(collective_rank_arguments(i, ranks / processes, ranks, place), {variable});
    if (!child) return unexpected(child.error());
    children.push_back(std::move(*child));
  }
  std::vector<std::string> processes_said;
  std::vector<std::unique_ptr<delaying_relay>> wires;
  for (const auto& c : children) {
    auto line = c->hear(now() + start_limit);
    if (!line) return unexpected(line.error());
    auto said = line->substr(std::string("here").size());
    if (delay > 0ns) {
      const auto at = said.rfind(' ') + 1;
      wires.push_back(std::make_unique<delaying_relay>(said.substr(at), delay));
      said = said.substr(0, at) + wires.back()->endpoint();
    }
    processes_said.push_back(std::move(said));
  }
  std::string table = "join";
  for (std::size_t rank = 0; rank < static_cast<std::size_t>(ranks); ++rank) {
    table += processes_said[rank % processes_said.size()];
  }
  for (const auto& c : children) {
    if (auto said = c->say(table); !said) return unexpected(said.error());
  }
  if (!wires.empty()) return when_ready(std::make_unique<delayed_system>(std::move(children), std::move(wires)));
  const auto told = children.size();
  return when_ready(std::make_unique<system_of_children>(std::move(children), told));
}

started_system start_gloo(int ranks) {
  const auto program = peer_program("hydrogen-bench-gloo");
  if (!std::filesystem::exists(program)) return not_installed("Gloo");
  auto folder = std::make_unique<scratch_folder>();
  std::vector<std::unique_ptr<line_child>> children;
  for (int rank = 0; rank < ranks; ++rank) {
    auto child = line_child::start({program, std::to_string(rank), std::to_string(ranks), folder->path()});
    if (!child) return unexpected(child.error());
    children.push_back(std::move(*child));
  }
  return when_ready(std::make_unique<gloo_system>(std::move(children), std::move(folder)));
}

started_system start_open_mpi(int ranks) {
  const auto program = peer_program("hydrogen-bench-mpi");
  if (!std::filesystem::exists(program)) return not_installed("Open MPI");
  std::vector<std::string> command{"mpirun", "-n", std::to_string(ranks)};
  if (::geteuid() == 0) command.push_back("--allow-run-as-root");
  if (static_cast<unsigned>(ranks) > std::thread::hardware_concurrency()) {
    command.insert(command.end(), {"--oversubscribe", "--mca", "mpi_yield_when_idle", "1"});
  }
  command.push_back(program);
  auto child = line_child::start(command);
  if (!child) return fail(errc::not_found, "Open MPI's mpirun is not installed: " + child.error().message());
  std::vector<std::unique_ptr<line_child>> children;
  children.push_back(std::move(*child));
  return when_ready(std::make_unique<system_of_children>(std::move(children), 1));
}

}  // namespace hydrogen::bench
