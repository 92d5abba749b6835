// What happens when ranks misbehave and processes die. Processes are really killed.

#include "support.hpp"
#include <sys/wait.h>

#include <csignal>
#include <set>
#include <thread>

using namespace hydrogen;
using namespace hydrogen::test;
using actors::cluster_kind;

namespace {

std::map<std::string, int> count_lines(const std::string& file, const std::string& start) {
  std::map<std::string, int> counts;
  for (const auto& line : lines_of(file)) counts[line] += line.starts_with(start) ? 1 : 0;
  std::erase_if(counts, [](const auto& c) { return c.second == 0; });
  return counts;
}

}  // namespace

TEST_CASE("a rank that misbehaves ends the gang with an error that names it, and leaves no slot behind") {
  struct expectation {
    const char* how;
    const char* says;
  };
  auto cluster = start(cluster_kind::processes, 2, 4);
  for (const auto& [how, says] : {expectation{"throw", "rank one does not like this"}, expectation{"exit", "exit"},
                                  expectation{"crash", "signal 11"}, expectation{"return", "rank 1"},
                                  expectation{"size", "rank 1"}, expectation{"absent", "rank 1"}}) {
    CAPTURE(how);
    const auto why = error_of(*cluster, {"bad_rank", how});
    CHECK(why.code == errc::task_failed);
    CHECK_MESSAGE(why.what.find(says) != std::string::npos, why.what);
    CHECK(all_slots_become_free(*cluster, 8));
  }
}

TEST_CASE("a task that throws fails its job with partition, host and the text of the exception") {
  for (const auto kind : {cluster_kind::in_process, cluster_kind::processes}) {
    auto cluster = start(kind, 1, 4);
    const auto why = error_of(*cluster, {"bad_task"});
    CHECK_MESSAGE(why.what.find("row five is bad") != std::string::npos, why.what);
    CHECK_MESSAGE(why.what.find("partition 5") != std::string::npos, why.what);
    CHECK_MESSAGE(why.what.find("n1") != std::string::npos, why.what);
    CHECK(all_slots_become_free(*cluster, 4));
  }
}

TEST_CASE("an executor killed in the middle of training: the gang goes on from its checkpoint, no step twice") {
  auto cluster = start(cluster_kind::processes, 2, 4);
  const auto notes = cluster->options().directory + "/notes";
  run(*cluster, {"gang", "4", notes, "40", "2", "7"});
  CHECK(count_lines(notes, "step").size() == 40);
  // Rank 0 writes both kinds of line, in order. The step that was under way when the other rank was killed, and one
  // whose checkpoint was not durable yet, may run again; nothing before the last checkpoint may.
  int checkpointed = 0;
  for (const auto& line : lines_of(notes)) {
    if (line.starts_with("checkpointed ")) checkpointed = std::stoi(line.substr(13));
    if (line.starts_with("step ")) CHECK_MESSAGE(std::stoi(line.substr(5)) >= checkpointed, line);
  }
  CHECK(checkpointed == 40);
  CHECK(all_slots_become_free(*cluster, 8));
}

TEST_CASE("a gang that needs more slots than the cluster has is refused at once, with what would fit") {
  for (const auto kind : {cluster_kind::in_process, cluster_kind::processes}) {
    auto cluster = start(kind, 1, 4);
    const auto notes = cluster->options().directory + "/notes";
    const auto why = error_of(*cluster, {"gang", "8", notes, "1", "-1", "-1"});
    CHECK(why.code == errc::refused);
    CHECK_MESSAGE(why.what.find("8") != std::string::npos, why.what);
    CHECK_MESSAGE(why.what.find("4") != std::string::npos, why.what);
    CHECK(lines_of(notes).empty());
  }
}

TEST_CASE("two gangs of three on four slots, submitted together again and again, never block each other") {
  auto cluster = start(cluster_kind::in_process, 1, 4);
  std::vector<std::thread> drivers;
  std::atomic<int> done{0};
  for (int i = 0; i < 2; ++i) {
    drivers.emplace_back([&] {
      try {
        run(*cluster, {"two_gangs", "500"});
        ++done;
      } catch (const std::exception& e) {
        MESSAGE(e.what());
      }
    });
  }
  for (auto& driver : drivers) driver.join();
  CHECK(done == 2);
  CHECK(free_slots(*cluster) == 4);
}

TEST_CASE("the coordinator is killed and comes back: the job ends with the right result") {
  auto cluster = start(cluster_kind::processes, 3, 4);
  const auto notes = cluster->options().directory + "/notes";
  std::thread killer([&] {
    wait_for_lines(notes, "step 5");
    value_or_throw(cluster->restart(0));
  });
  run(*cluster, {"gang", "4", notes, "2000", "-1", "-1"});
  killer.join();
  CHECK(count_lines(notes, "step").size() == 2000);
}
