// How soon a process that is dead or hangs is noticed while a gang runs, and how soon the gang is told and runs again.
// Processes are really killed and stopped. What was seen is printed; what is asserted leaves slow machines much room.

#include "processes.hpp"
#include "support.hpp"

#include <algorithm>
#include <sstream>

using namespace hydrogen;
using namespace hydrogen::test;
using actors::cluster_kind;

namespace hydrogen::test::at_noticed {

namespace {

constexpr comm::connection_options shipped;  // of every process of a cluster, where its config says nothing else
constexpr std::uint32_t nodes = 3, slots = 2, ranks = 4;
/// For a machine that does other things meanwhile.
constexpr duration slack = 20s;

std::unique_ptr<actors::local_cluster> start(const comm::connection_options& connections) {
  actors::cluster_options options;
  options.kind = cluster_kind::processes;
  options.nodes = nodes;
  options.slots = slots;
  options.program = HYDROGEN_PROGRAM;
  options.log_level = "error";
  options.connections = options.driver_connections = connections;
  return value_or_throw(actors::local_cluster::start(options));
}

struct entry {
  std::uint32_t rank = 0;
  std::uint32_t attempt = 0;
  time_point at;
  pid_t pid = 0;
};

/// A gang of 4 on two of three nodes, all with warm executors. Its first attempt never ends by itself.
struct watched_gang {
  explicit watched_gang(const comm::connection_options& connections, int retries = 1, bool meets = true)
      : cluster(start(connections)),
        notes(cluster->options().directory + "/notes"),
        driver(*cluster, {"watched_gang", std::to_string(nodes * slots), std::to_string(ranks), std::to_string(retries),
                          notes, meets ? "meets" : "computes"}) {
    wait_for_lines(notes, "enter", ranks);
    for (std::uint32_t n = 1; n < nodes; ++n) {
      const auto here = executors_of(cluster->pid_of(n));
      for (const auto& e : entered(0)) {
        const auto is_here = std::find(here.begin(), here.end(), e.pid) != here.end();
        if (is_here && (victim.pid == 0 || e.rank > victim.rank)) victim = e, node = n;
      }
    }
    REQUIRE(victim.pid != 0);
    for (const auto& e : entered(0)) survivors += e.pid != victim.pid;
    REQUIRE(survivors >= 2);
  }
  ~watched_gang() {
    for (const auto pid : {victim.pid, cluster->pid_of(node)}) {
      if (alive(pid)) kill(pid, SIGCONT);
    }
  }

  std::vector<entry> entered(std::uint32_t attempt) const {
    std::vector<entry> found;
    for (const auto& line : lines_with(notes, "enter ")) {
      std::istringstream in(line);
      std::string word;
      entry e;
      std::int64_t at = 0;
      in >> word >> e.rank >> e.attempt >> at >> e.pid;
      e.at = time_point(std::chrono::microseconds(at));
      if (e.attempt == attempt) found.push_back(e);
    }
    return found;
  }

  /// When the survivors knew that their attempt is over, in order.
  std::vector<time_point> told() const {
    std::vector<time_point> found;
    for (const auto& line : wait_for_lines(notes, "told ", survivors)) {
      found.emplace_back(std::chrono::microseconds(std::stoll(line.substr(line.rfind(' ') + 1))));
    }
    std::sort(found.begin(), found.end());
    return found;
  }

  std::unique_ptr<actors::local_cluster> cluster;
  const std::string notes;
  running driver;
  entry victim;  // the last rank that is not on the coordinator's node
  std::uint32_t node = 0;
  std::size_t survivors = 0;
};

std::int64_t ms(duration d) {
  return d / 1ms;
}

/// Prints what was seen since then, and returns when all ranks that live had been told.
duration told_after(watched_gang& gang, time_point since, const std::string& what) {
  const auto told = gang.told();
  wait_until("the next attempt", [&] { return gang.entered(1).size() == ranks; });
  auto again = since;
  for (const auto& e : gang.entered(1)) again = std::max(again, e.at);
  MESSAGE(what << ": the first rank is told after " << ms(told.front() - since) << " ms, the last after "
               << ms(told.back() - since) << " ms, all run again after " << ms(again - since) << " ms");
  CHECK(gang.driver.end() == "");
  return told.back() - since;
}

/// A process that is silent for so long is noticed by nobody else's time-out in these tests.
comm::connection_options patient() {
  auto options = shipped;
  options.heartbeat_timeout = 10min;
  return options;
}

}  // namespace

TEST_CASE("an executor or a node that dies is noticed by its closed sockets, not by its silence") {
  for (const bool whole_node : {false, true}) {
    // Nobody meets the dead, who would notice that by himself.
    watched_gang gang(patient(), 1, false);
    const auto since = now();
    signal_process(whole_node ? gang.cluster->pid_of(gang.node) : gang.victim.pid, SIGKILL);
    CHECK(told_after(gang, since, whole_node ? "a node is killed" : "an executor is killed") < slack);
  }
}

TEST_CASE("an executor or an agent that hangs is noticed after heartbeat_timeout, by default 3 s") {
  CHECK(shipped.heartbeat_timeout == 3s);
  for (const auto* what : {"an executor", "an agent", "a node with its executors"}) {
    watched_gang gang(shipped, 1, false);
    const auto agent = gang.cluster->pid_of(gang.node);
    const auto since = now();
    const std::string who(what);
    if (who != "an executor") stop_process(agent);
    if (who != "an agent") stop_process(gang.victim.pid);
    CHECK(told_after(gang, since, who + " is stopped") < shipped.heartbeat_timeout + slack);
    if (who == "an executor") {
      CHECK_FALSE(alive(gang.victim.pid));
    } else {
      signal_process(agent, SIGCONT);
      wait_until("the end of the executor", [&] { return !alive(gang.victim.pid); });
    }
    CHECK(all_slots_become_free(*gang.cluster, nodes * slots));
  }
}

TEST_CASE("heartbeat_timeout says how long a process may hang, and the error of the gang says how long it did") {
  for (const auto timeout : {duration(400ms), duration(4s)}) {
    comm::connection_options options;
    options.heartbeat_interval = 100ms;
    options.heartbeat_timeout = timeout;
    watched_gang gang(options, 0);
    const auto since = now();
    stop_process(gang.victim.pid);
    const auto told = gang.told();
    MESSAGE("with " << ms(timeout) << " ms, an executor is stopped: the last rank is told after "
                    << ms(told.back() - since) << " ms");
    const auto what = gang.driver.end();
    const auto at = what.find("has been silent for ");
    REQUIRE_MESSAGE(at != std::string::npos, what);
    CHECK_MESSAGE(std::stoll(what.substr(at + 20)) >= ms(timeout), what);
    CHECK_FALSE(alive(gang.victim.pid));
  }
}

TEST_CASE("an executor waits for a silent agent as long as heartbeat_timeout says, and not its own default") {
  auto options = shipped;
  options.heartbeat_timeout = 7s;
  watched_gang gang(options, 0);
  const auto agent = gang.cluster->pid_of(gang.node);
  const auto since = now();
  stop_process(agent);
  const auto told = gang.told();
  MESSAGE("with 7000 ms, an agent is stopped: the last rank is told after " << ms(told.back() - since) << " ms");
  CHECK(told.front() - since > shipped.heartbeat_timeout + 1s);
  signal_process(agent, SIGCONT);
  CHECK(gang.driver.end() != "");
}

}  // namespace hydrogen::test::at_noticed
