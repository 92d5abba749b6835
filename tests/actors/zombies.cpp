// Zombies: ranks that were stopped with their node, and go on when their gang has been given up and runs elsewhere.
// Nothing of them may be accepted: no contribution, result or checkpoint.
//
//     HYDROGEN_ZOMBIES=1000 build/release/bin/test_actors -tc='*zombie*'     # at least so many; some a round

#include "processes.hpp"
#include "support.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <sstream>

using namespace hydrogen;
using namespace hydrogen::test;
using actors::cluster_kind;

namespace hydrogen::test::at_zombies {

namespace {

constexpr std::uint32_t nodes = 3, slots = 8, ranks = 16;

struct place {
  std::uint32_t rank = 0;
  pid_t pid = 0;
  std::uint32_t attempt = 0;
};

std::vector<place> places(const std::string& notes, const std::string& start) {
  std::vector<place> found;
  for (const auto& line : wait_for_lines(notes, start, ranks)) {
    std::istringstream in(line.substr(start.size()));
    place p;
    in >> p.rank >> p.pid >> p.attempt;
    found.push_back(p);
  }
  return found;
}

/// All threads wait for something, or the process is gone.
bool idle(pid_t pid) {
  std::error_code ignored;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task", ignored)) {
    const auto stat = text_of(thread.path() / "stat");
    if (!stat.empty() && stat.find(") S ") == std::string::npos) return false;
  }
  return true;
}

struct counts {
  std::size_t zombies = 0;  // ranks that went on
  std::size_t ended = 0;    // that came to the end of what they tried
  std::size_t writing = 0;  // that were stopped within a checkpoint, and completed it
  std::size_t files = 0;    // of checkpoints, looked at
};

class rounds {
 public:
  explicit rounds(std::size_t n)
      : cluster_(start()),
        notes_(cluster_->options().directory + "/notes"),
        driver_(*cluster_, {"zombies", std::to_string(ranks), std::to_string(n), notes_}) {}
  ~rounds() {
    for (const auto pid : stopped_) {
      if (alive(pid)) kill(pid, SIGCONT);
    }
    for (const auto* gate : {".go", ".finish"}) open_gate(mine_ + gate);
    open_gate(notes_ + ".over");
  }

  void play(std::size_t round) {
    REQUIRE(all_slots_become_free(*cluster_, nodes * slots, 60s));
    mine_ = notes_ + "." + std::to_string(round);
    open_gate(mine_ + ".start");
    const auto entered = places(mine_, "enter ");
    if (round % 2 == 0)
      wait_for_lines(mine_, "stop now");
    else
      wait_for_lines(mine_, "step ", 3 + round * 7 % 20);
    const auto executor = choose(entered).second;
    const auto node = choose(entered).first;
    // The agent first, which would end a stopped executor.
    stopped_ = {node, executor};
    stop_process(node);
    stop_process(executor);
    std::set<std::uint32_t> zombies;
    for (const auto& p : entered) {
      if (p.pid == executor) zombies.insert(p.rank);
    }
    wait_for_lines(mine_, "again ", ranks);
    const auto before = checkpoints();

    const bool while_it_runs = round % 4 < 2;
    if (!while_it_runs) open_gate(mine_ + ".finish");
    open_gate(mine_ + ".go");
    signal_process(executor, SIGCONT);
    wait_until("the zombies have done what they can",
               [&] { return lines_with(mine_, "ends ").size() >= zombies.size() || !alive(executor); });
    // What they return is on its way to the driver, which is not tired of this executor yet.
    wait_until("the executor has sent it all", [&] { return idle(executor); });
    if (while_it_runs) {
      CHECK(lines_with(mine_, "right").empty());
      open_gate(mine_ + ".finish");
    }
    wait_for_lines(mine_, "right");
    signal_process(node, SIGCONT);
    wait_until("the end of the executor", [&] { return !alive(executor); });
    stopped_.clear();

    for (const auto& line : lines_with(mine_, "accepted")) FAIL_CHECK("round " << round << ": " << line);
    std::multiset<std::uint32_t> counted;  // ranks of the attempt that counts: each once
    const auto again = places(mine_, "again ");
    for (const auto& p : again) {
      if (p.attempt == again.back().attempt && p.pid != executor) counted.insert(p.rank);
    }
    CHECK(counted.size() == ranks);
    CHECK(std::set(counted.begin(), counted.end()).size() == ranks);
    for (const auto& line : lines_with(mine_, "zombie "))
      CHECK(zombies.contains(static_cast<std::uint32_t>(std::stoul(line.substr(7)))));
    seen.zombies += lines_with(mine_, "zombie ").size();
    seen.ended += lines_with(mine_, "ends ").size();
    seen.writing += lines_with(mine_, "wrote ").size();
    check_files(round, before);
  }

  std::string end() {
    open_gate(notes_ + ".over");
    return driver_.end();
  }
  counts seen;

 private:
  static std::unique_ptr<actors::local_cluster> start() {
    actors::cluster_options options;
    options.kind = cluster_kind::processes;
    options.nodes = nodes;
    options.slots = slots;
    options.program = HYDROGEN_PROGRAM;
    options.log_level = "error";
    options.connections.heartbeat_interval = 150ms;
    options.connections.heartbeat_timeout = 600ms;
    // The driver goes on listening to the stopped executor.
    options.driver_connections.heartbeat_timeout = 10min;
    return value_or_throw(actors::local_cluster::start(options));
  }

  /// A node that is not the coordinator's, and its executor that has ranks.
  std::pair<pid_t, pid_t> choose(const std::vector<place>& entered) {
    for (std::uint32_t n = nodes - 1; n > 0; --n) {
      const auto here = executors_of(cluster_->pid_of(n));
      for (const auto& p : entered) {
        if (std::find(here.begin(), here.end(), p.pid) != here.end()) return {cluster_->pid_of(n), p.pid};
      }
    }
    FAIL("all ranks are on the coordinator's node");
    return {};
  }

  /// The pieces of the newest gang: attempt/step-N/rank-R, and what is in them.
  std::map<std::string, std::string> checkpoints() const {
    const auto storage = std::filesystem::path(cluster_->options().directory) / "storage";
    std::map<std::string, std::string> found;
    std::filesystem::path newest;
    std::uint64_t highest = 0;
    for (const auto& run : std::filesystem::directory_iterator(storage)) {
      for (const auto& gang : std::filesystem::directory_iterator(run.path())) {
        const auto job = std::stoull(gang.path().filename().string().substr(1));  // jJOB-sSTAGE-K
        if (job >= highest) highest = job, newest = gang.path();
      }
    }
    std::error_code ignored;  // pieces come and go
    std::filesystem::recursive_directory_iterator file(newest, ignored), none;
    for (; file != none; file.increment(ignored)) {
      const auto name = file->path().filename().string();
      if (name.starts_with("rank-") && !name.ends_with(".part"))
        found[file->path().string().substr(newest.string().size() + 1)] = text_of(file->path());
    }
    return found;
  }

  /// Those of the attempt that counts are whole, and those of the zombies' attempt are as they were, but for the one
  /// that a zombie was just writing, which nobody will read.
  void check_files(std::size_t round, const std::map<std::string, std::string>& before) {
    constexpr double poison = 6.66e66;
    const std::string bad(reinterpret_cast<const char*>(&poison), sizeof poison);
    const auto after = checkpoints();
    std::map<std::string, std::set<std::string>> last;  // by attempt and step: its ranks
    const auto steps = std::string(round % 2 == 0 ? "5" : "40");
    for (const auto& [name, bytes] : after) {
      CAPTURE(name);
      ++seen.files;
      CHECK(bytes.find(bad) == std::string::npos);
      if (const auto was = before.find(name); was != before.end()) CHECK(was->second == bytes);
      const auto slash = name.rfind('/');
      last[name.substr(0, slash)].insert(name.substr(slash + 1));
    }
    std::size_t complete = 0;
    for (const auto& [step, pieces] : last) {
      if (!step.ends_with("/step-" + steps)) continue;
      complete += pieces.size() == ranks;
    }
    CHECK(complete == 1);
  }

  std::unique_ptr<actors::local_cluster> cluster_;
  const std::string notes_;
  running driver_;
  std::string mine_;
  std::vector<pid_t> stopped_;
};

}  // namespace

TEST_CASE("nothing of a zombie is accepted: no contribution to its gang, no result, no checkpoint") {
  const char* wanted = std::getenv("HYDROGEN_ZOMBIES");
  const std::size_t zombies = wanted != nullptr ? std::stoul(wanted) : 16;
  constexpr std::size_t kinds = 4;  // of rounds
  const auto most = zombies + kinds;
  rounds all(most);
  const auto began = now();
  std::size_t round = 0;
  for (; round < most && (round < kinds || all.seen.zombies < zombies); ++round) {
    CAPTURE(round);
    all.play(round);
  }
  CHECK(all.end() == "");
  MESSAGE(round << " rounds: " << all.seen.zombies << " ranks went on as zombies, " << all.seen.ended
                << " tried all they could, " << all.seen.writing << " completed a checkpoint that nobody waits for; "
                << all.seen.files << " files looked at; " << (now() - began) / 1s << " s");
  CHECK(all.seen.zombies >= zombies);
}

}  // namespace hydrogen::test::at_zombies
