// What a series of failing gangs leaves behind: nothing.

#include "processes.hpp"
#include "support.hpp"
#include <spdlog/fmt/fmt.h>

#include <map>
#include <sstream>

using namespace hydrogen;
using namespace hydrogen::test;
using actors::cluster_kind;

namespace {

/// Everything that could be left, by name; of the coordinator's node, the other node, and the driver's process.
std::map<std::string, std::size_t> belongings(actors::local_cluster& cluster) {
  std::map<std::string, std::size_t> all;
  const auto add = [&](const std::string& who, pid_t pid) {
    all["descriptors of " + who] = descriptors_of(pid);
    all["threads of " + who] = threads_of(pid);
  };
  for (std::uint32_t n = 0; n < cluster.options().nodes; ++n) {
    const auto name = fmt::format("n{}", n + 1);
    add(name, cluster.pid_of(n));
    all["executors of " + name] = executors_of(cluster.pid_of(n)).size();
  }
  add("the driver", getpid());
  all["shared memory"] = entries_of("/dev/shm");
  std::size_t files = 0;
  // Checkpoints of runs that are over may be going just now.
  std::error_code changing;
  for (std::filesystem::recursive_directory_iterator at(cluster.options().directory, changing), end;
       !changing && at != end; at.increment(changing)) {
    ++files;
  }
  all["files"] = files;
  return all;
}

std::string differences(const std::map<std::string, std::size_t>& before,
                        const std::map<std::string, std::size_t>& after) {
  std::ostringstream text;
  for (const auto& [what, n] : after) {
    if (n > before.at(what)) text << what << ": " << before.at(what) << " before, " << n << " after; ";
  }
  return text.str();
}

}  // namespace

TEST_CASE("failing gangs leave no process, thread, descriptor, shared memory or file behind") {
  auto cluster = start(cluster_kind::processes, 2, 4);
  const auto notes = cluster->options().directory + "/notes";
  const auto fail_some = [&] {
    for (const auto* how : {"throw", "exit", "crash", "return"}) {
      error_of(*cluster, {"bad_rank", how});
      CHECK(all_slots_become_free(*cluster, 8));
    }
    run(*cluster, {"gang", "4", notes, "10", "2", "5"});  // an executor is killed
    run(*cluster, {"gang", "8", notes, "10", "7", "5"});
    CHECK(all_slots_become_free(*cluster, 8));
  };
  // What is made once and kept: dial helpers, the thread of the block server, links that wait for their next use.
  fail_some();
  std::map<std::string, std::size_t> before;
  wait_until("executors of runs that are over are gone", [&] {
    before = belongings(*cluster);
    return before["executors of n1"] == 1 && before["executors of n2"] == 1;
  });
  for (int i = 0; i < 3; ++i) fail_some();
  std::string more;
  for (const auto deadline = now() + 5s; now() < deadline; std::this_thread::yield()) {
    more = differences(before, belongings(*cluster));
    if (more.empty()) break;
  }
  CHECK_MESSAGE(more == "", more);
}
