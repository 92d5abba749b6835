// Ranks that use devices, virtual ones: who gets which, and what happens when something goes wrong there. Processes are
// really killed.

#include "support.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

using namespace hydrogen;
using namespace hydrogen::test;
using actors::cluster_kind;

namespace {

struct use {
  int attempt = 0, rank = 0;
  std::string device;
  long process = 0;
};

std::vector<use> uses_of(const std::string& notes) {
  std::vector<use> all;
  for (const auto& line : lines_with(notes, "device ")) {
    std::istringstream in(line);
    std::string word;
    use u;
    in >> word >> u.attempt >> u.rank >> u.device >> u.process;
    all.push_back(u);
  }
  return all;
}

struct task_use {
  int task = 0, again = 0;
  std::string device;
  long process = 0;
  int users = 0;
};

std::vector<task_use> task_uses_of(const std::string& notes) {
  std::vector<task_use> all;
  for (const auto& line : lines_with(notes, "task ")) {
    std::istringstream in(line);
    std::string word;
    task_use u;
    in >> word >> u.task >> u.again >> u.device >> u.process >> u.users;
    all.push_back(u);
  }
  return all;
}

std::unique_ptr<actors::local_cluster> with_gpus(cluster_kind kind, std::uint32_t nodes, std::uint32_t gpus) {
  actors::cluster_options options;
  options.kind = kind;
  options.nodes = nodes;
  options.slots = 4;
  options.virtual_gpus = gpus;
  options.virtual_gpu_memory = 64 << 20;
  options.program = HYDROGEN_PROGRAM;
  options.log_level = "off";
  return value_or_throw(actors::local_cluster::start(options));
}

}  // namespace

TEST_CASE("each rank has the devices that it was granted, alone or with as many others as were asked for") {
  for (const auto kind : {cluster_kind::in_process, cluster_kind::processes}) {
    CAPTURE(static_cast<int>(kind));
    auto cluster = with_gpus(kind, 2, 2);
    const auto notes = cluster->options().directory + "/notes";
    run(*cluster, {"devices", "4", "1", "1", notes + "1", ""});
    std::map<std::pair<long, std::string>, int> ranks;
    for (const auto& u : uses_of(notes + "1")) ++ranks[{kind == cluster_kind::processes ? u.process : 0, u.device}];
    // Embedded, both nodes are one process, and number their devices alike.
    CHECK(ranks.size() == (kind == cluster_kind::processes ? 4 : 2));
    run(*cluster, {"devices", "4", "1", "4", notes + "2", ""});
    std::set<std::string> devices;
    for (const auto& u : uses_of(notes + "2")) devices.insert(u.device);
    CHECK(devices == std::set<std::string>{"virtual-0"});
    run(*cluster, {"devices", "3", "0", "1", notes + "3", ""});
    for (const auto& u : uses_of(notes + "3")) CHECK(u.device == "host");
    const auto why = error_of(*cluster, {"devices", "5", "1", "1", notes + "4", ""});
    CHECK_MESSAGE(why.what.find("1 gpu each") != std::string::npos, why.what);
    CHECK(all_slots_become_free(*cluster, 8));
  }
}

TEST_CASE("what goes wrong on a device fails the attempt with device, kernel and rank, and the gang is tried again") {
  struct expectation {
    const char* fault;
    bool ends_executor = false;
  };
  for (const auto kind : {cluster_kind::in_process, cluster_kind::processes}) {
    CAPTURE(static_cast<int>(kind));
    for (const auto& [fault, ends] : {expectation{"throw"}, expectation{"memory"}, expectation{"lose", true},
                                      expectation{"hang", true}, expectation{"kill", true}}) {
      if (kind == cluster_kind::in_process && std::string(fault) == "kill") continue;
      CAPTURE(fault);
      auto cluster = with_gpus(kind, 1, 2);
      const auto notes = cluster->options().directory + "/notes";
      run(*cluster, {"devices", "4", "1", "2", notes, fault});
      std::set<long> first, second;
      for (const auto& u : uses_of(notes)) (u.attempt == 0 ? first : second).insert(u.process);
      CHECK(first.size() == 1);
      REQUIRE(second.size() == 1);
      if (kind == cluster_kind::processes) CHECK((first != second) == ends);
      CHECK(all_slots_become_free(*cluster, 4));
      run(*cluster, {"devices", "4", "1", "2", notes, ""});  // all devices are there again
    }
  }
}

TEST_CASE("the error of a job whose ranks have trouble with devices names device, kernel and rank") {
  auto cluster = with_gpus(cluster_kind::processes, 1, 1);
  const auto notes = cluster->options().directory + "/notes";
  for (const auto& [fault, says] : {std::pair<const char*, std::vector<const char*>>{
                                        "always throw", {"rank 1", "virtual-0", "add_one", "computes badly"}},
                                    {"always memory", {"rank 1", "virtual-0", "64 MiB"}}}) {
    const auto why = error_of(*cluster, {"devices", "2", "1", "2", notes, fault});
    for (const auto* word : says) CHECK_MESSAGE(why.what.find(word) != std::string::npos, why.what);
  }
  CHECK(all_slots_become_free(*cluster, 4));
}

TEST_CASE("tasks of a parallel stage have devices that they asked for, alone or with as many others as they said") {
  for (const auto kind : {cluster_kind::in_process, cluster_kind::processes}) {
    CAPTURE(static_cast<int>(kind));
    auto cluster = with_gpus(kind, 2, 2);
    const auto notes = cluster->options().directory + "/notes";
    for (const int shared_by : {1, 3}) {
      CAPTURE(shared_by);
      const auto file = notes + std::to_string(shared_by);
      run(*cluster, {"device_tasks", "24", "1", std::to_string(shared_by), file, ""});
      const auto uses = task_uses_of(file);
      std::set<int> tasks;  // one that was taken back from a full executor may be there twice
      for (const auto& u : uses) {
        tasks.insert(u.task);
        CHECK(u.device.starts_with("virtual-"));
        CHECK(u.users <= shared_by);
      }
      CHECK(tasks.size() == 24);
      CHECK(all_slots_become_free(*cluster, 8));
    }
    const auto why = error_of(*cluster, {"device_tasks", "4", "3", "1", notes, ""});
    CHECK_MESSAGE(why.what.find("3 gpu each") != std::string::npos, why.what);
    run(*cluster, {"devices", "4", "1", "1", notes + "gang", ""});  // gangs have them again
  }
}

TEST_CASE("a task that has trouble with its device is tried again, elsewhere if the device is gone") {
  for (const auto kind : {cluster_kind::in_process, cluster_kind::processes}) {
    CAPTURE(static_cast<int>(kind));
    for (const auto* fault : {"throw", "memory", "lose", "hang", "kill"}) {
      if (kind == cluster_kind::in_process && std::string(fault) == "kill") continue;
      CAPTURE(fault);
      auto cluster = with_gpus(kind, 1, 2);
      const auto notes = cluster->options().directory + "/notes";
      run(*cluster, {"device_tasks", "6", "1", "1", notes, fault});
      const auto uses = task_uses_of(notes);
      CHECK(std::count_if(uses.begin(), uses.end(), [](const auto& u) { return u.task == 1; }) > 1);
      CHECK(all_slots_become_free(*cluster, 4));
      run(*cluster, {"devices", "4", "1", "2", notes + "gang", ""});
    }
  }
}

TEST_CASE("kernels are actors of a task on its devices, which are free when it is over") {
  for (const auto kind : {cluster_kind::in_process, cluster_kind::processes}) {
    CAPTURE(static_cast<int>(kind));
    auto cluster = with_gpus(kind, 2, 2);
    for (int again = 0; again < 3; ++again) {
      run(*cluster, {"kernel_actors", "12", "1"});
      run(*cluster, {"kernel_actors", "12", "0"});
    }
    run(*cluster, {"devices", "4", "1", "1", cluster->options().directory + "/notes", ""});
  }
}
