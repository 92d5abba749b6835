// Gangs that do not find the slots they need: they wait with a reason, and start when the slots come back.

#include "support.hpp"
#include <spdlog/fmt/fmt.h>

#include <cstdio>
#include <set>

using namespace hydrogen;
using namespace hydrogen::test;
using actors::cluster_kind;

namespace {

/// What `hydrogen status --json` prints about a cluster of node processes.
std::string status_text(actors::local_cluster& cluster) {
  const auto command = fmt::format("{} status --json --cluster {} --secret {}", HYDROGEN_PROGRAM, cluster.address(),
                                   cluster.secret_file());
  auto* out = popen(command.c_str(), "r");
  REQUIRE(out != nullptr);
  std::string text;
  for (int c; (c = std::fgetc(out)) != EOF;) text.push_back(static_cast<char>(c));
  CHECK(pclose(out) == 0);
  return text;
}

/// The tasks of the scenario `busy` that have started.
std::set<std::string> started(const std::string& notes) {
  std::set<std::string> tasks;
  for (const auto& line : lines_with(notes, "task ")) tasks.insert(line.substr(5, line.rfind(' ') - 5));
  return tasks;
}

}  // namespace

TEST_CASE("a gang of 4 while 2 of 4 slots are busy waits, says why, and starts when they become free") {
  for (const auto kind : {cluster_kind::in_process, cluster_kind::processes}) {
    CAPTURE(static_cast<int>(kind));
    auto cluster = start(kind, 1, 4);
    const auto busy = cluster->options().directory + "/busy", notes = cluster->options().directory + "/notes";
    running first(*cluster, {"busy", "2", busy});
    wait_for_lines(busy, "task", 2);
    running second(*cluster, {"gang", "4", notes, "1", "-1", "-1"});
    wait_until("a gang that waits for slots", [&] {
      const auto gang = request_of(*cluster, "barrier");
      return gang && gang->state == "queued" && gang->reason.find("needs 4 slots, 2 free") != std::string::npos;
    });
    if (kind == cluster_kind::processes) {
      const auto text = status_text(*cluster);
      CHECK_MESSAGE(text.find("needs 4 slots, 2 free") != std::string::npos, text);
    }
    CHECK(lines_with(notes, "enter").empty());
    open_gate(busy + ".0");
    wait_until("one more slot", [&] {
      const auto gang = request_of(*cluster, "barrier");
      return gang && gang->reason.find("needs 4 slots, 3 free") != std::string::npos;
    });
    CHECK(lines_with(notes, "enter").empty());
    open_gate(busy + ".1");
    CHECK(first.end() == "");
    CHECK(second.end() == "");
    CHECK(lines_with(notes, "enter").size() == 4);
    CHECK(all_slots_become_free(*cluster, 4));
  }
}

TEST_CASE("a gang behind one long parallel stage starts at the ends of its tasks, not of the stage") {
  constexpr std::size_t tasks = 200;
  for (const auto kind : {cluster_kind::in_process, cluster_kind::processes}) {
    CAPTURE(static_cast<int>(kind));
    auto cluster = start(kind, 1, 4);
    const auto busy = cluster->options().directory + "/busy", notes = cluster->options().directory + "/notes";
    running stage(*cluster, {"busy", std::to_string(tasks), busy});
    wait_for_lines(busy, "task", 4);
    running gang(*cluster, {"gang", "4", notes, "1", "-1", "-1"});
    // Ends tasks while somebody waits for slots; those that start meanwhile wait at their gates.
    std::set<std::string> opened;
    wait_until("the end of the gang", [&] {
      for (const auto& request : value_or_throw(cluster->status()).requests) {
        if (request.state != "queued" || request.reason.find("needs") == std::string::npos) continue;
        for (const auto& task : started(busy)) {
          if (opened.insert(task).second) open_gate(busy + "." + task);
        }
      }
      return lines_with(notes, "checkpointed 1").size() == 1;
    });
    const auto before = started(busy).size();
    CHECK(before < tasks);
    MESSAGE("the gang came after " << before << " of " << tasks << " tasks");
    for (std::size_t i = 0; i < tasks; ++i) open_gate(busy + "." + std::to_string(i));
    CHECK(gang.end() == "");
    CHECK(stage.end() == "");
    CHECK(all_slots_become_free(*cluster, 4));
  }
}
