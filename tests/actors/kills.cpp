// Executors that are killed at the narrow moments of a gang's life: after its Go and before user code, and after its
// results and before its end.

#include <hydrogen/actors/scheduler.hpp>

#include "processes.hpp"
#include "support.hpp"

#include <condition_variable>
#include <mutex>

using namespace hydrogen;
using namespace hydrogen::test;
using actors::cluster_kind;

namespace {

/// The process that ran this rank of the gang that starts executors.
pid_t warm_pid(const std::string& notes, std::uint32_t rank) {
  for (const auto& line : lines_with(notes, "warm " + std::to_string(rank) + " ")) {
    return static_cast<pid_t>(std::stol(line.substr(line.rfind(' ') + 1)));
  }
  FAIL("no line of rank " << rank);
  return 0;
}

/// A gang of 4 on two nodes whose executors are warm, and that waits to be let in.
struct warm_gang {
  explicit warm_gang(int retries, int numbers = 1)
      : cluster(start(cluster_kind::processes, 2, 2)),
        notes(cluster->options().directory + "/notes"),
        driver(*cluster, {"warm_gang", "4", std::to_string(retries), notes, std::to_string(numbers)}) {
    wait_for_lines(notes, "warmed");
    victim = warm_pid(notes, 3);
    REQUIRE(victim != warm_pid(notes, 0));
    // A stopped executor that still owes the end of the first gang would be ended by its agent.
    REQUIRE(all_slots_become_free(*cluster, 4));
  }
  ~warm_gang() {
    if (alive(victim)) kill(victim, SIGCONT);
    open_gate(notes + ".start");
    open_gate(notes + ".finish");
  }

  std::unique_ptr<actors::local_cluster> cluster;
  const std::string notes;
  running driver;
  pid_t victim = 0;
};

/// Keeps whoever runs the actors of this process, and so the driver's job, from looking at its mail. Connections
/// and their heartbeats go on.
class stalled_driver {
  struct shared {
    std::mutex mutex;
    std::condition_variable changed;
    bool stalled = false, released = false;
  };
  struct sleeper : caf::event_based_actor {
    sleeper(caf::actor_config& cfg, std::shared_ptr<shared> s) : event_based_actor(cfg), state(std::move(s)) {}
    caf::behavior make_behavior() override {
      return {[this](int) {
        std::unique_lock lock(state->mutex);
        state->stalled = true;
        state->changed.notify_all();
        state->changed.wait(lock, [&] { return state->released; });
      }};
    }
    std::shared_ptr<shared> state;
  };

 public:
  explicit stalled_driver(actors::local_cluster& cluster) : alone_(cluster.home().system()) {
    auto actor = cluster.home().system().spawn<sleeper>(state_);
    caf::anon_send(actor, 0);
    std::unique_lock lock(state_->mutex);
    state_->changed.wait(lock, [&] { return state_->stalled; });
  }
  ~stalled_driver() {
    std::lock_guard lock(state_->mutex);
    state_->released = true;
    state_->changed.notify_all();
  }

 private:
  const actors::scheduler::worker_alone alone_;
  std::shared_ptr<shared> state_ = std::make_shared<shared>();
};

void wait_for_reason(actors::local_cluster& cluster, const std::string& part) {
  wait_until(part.c_str(), [&] {
    const auto request = request_of(cluster, "barrier");
    return request && request->reason.find(part) != std::string::npos;
  });
}

}  // namespace

TEST_CASE("no rank's function is entered before all ranks have joined") {
  warm_gang gang(3);
  stop_process(gang.victim);
  open_gate(gang.notes + ".start");
  wait_for_reason(*gang.cluster, "0 of 4 ranks have joined");
  CHECK(request_of(*gang.cluster, "barrier")->state == "joining");
  CHECK(free_slots(*gang.cluster) == 0);
  CHECK(lines_with(gang.notes, "enter").empty());
  signal_process(gang.victim, SIGCONT);
  wait_for_lines(gang.notes, "enter", 4);
  open_gate(gang.notes + ".finish");
  CHECK(gang.driver.end() == "");
  CHECK(all_slots_become_free(*gang.cluster, 4));
}

TEST_CASE("an executor that is killed between Go and user code: the gang is retried whole, or names it at its limit") {
  for (const int retries : {1, 0}) {
    CAPTURE(retries);
    warm_gang gang(retries);
    stop_process(gang.victim);
    open_gate(gang.notes + ".start");
    wait_for_reason(*gang.cluster, "ranks have joined");
    CHECK(lines_with(gang.notes, "enter").empty());
    signal_process(gang.victim, SIGKILL);
    open_gate(gang.notes + ".finish");
    const auto what = gang.driver.end();
    if (retries > 0) {
      CHECK(what == "");
      CHECK(lines_with(gang.notes, "enter").size() == 4);
    } else {
      CHECK_MESSAGE(what.find("signal 9") != std::string::npos, what);
      CHECK_MESSAGE(what.find("rank") != std::string::npos, what);
      CHECK_MESSAGE(what.find("on n") != std::string::npos, what);
      CHECK(lines_with(gang.notes, "enter").empty());
    }
    CHECK(all_slots_become_free(*gang.cluster, 4));
  }
}

TEST_CASE("an executor that is killed after the last result: small outputs came with it, so the gang is complete") {
  warm_gang gang(0);
  open_gate(gang.notes + ".start");
  wait_for_lines(gang.notes, "enter", 4);
  {
    const stalled_driver stalled(*gang.cluster);
    open_gate(gang.notes + ".finish");
    wait_for_reason(*gang.cluster, "all ranks have returned");
    signal_process(gang.victim, SIGKILL);
    wait_until("the end of the executor", [&] { return !alive(gang.victim); });
  }
  CHECK(gang.driver.end() == "");
  CHECK(lines_with(gang.notes, "return").size() == 4);
  CHECK(all_slots_become_free(*gang.cluster, 4));
}

TEST_CASE("an executor that is killed before its large outputs are copied: retried whole, or named at the limit") {
  for (const int retries : {1, 0}) {
    CAPTURE(retries);
    warm_gang gang(retries, 10'000);
    open_gate(gang.notes + ".start");
    wait_for_lines(gang.notes, "enter", 4);
    {
      const stalled_driver stalled(*gang.cluster);
      open_gate(gang.notes + ".finish");
      wait_for_reason(*gang.cluster, "all ranks have returned");
      CHECK(lines_with(gang.notes, "return").size() == 4);
      signal_process(gang.victim, SIGKILL);
      wait_until("the end of the executor", [&] { return !alive(gang.victim); });
    }
    const auto what = gang.driver.end();
    if (retries > 0) {
      CHECK(what == "");
      CHECK(lines_with(gang.notes, "return").size() == 8);
    } else {
      CHECK_MESSAGE(what.find("rank") != std::string::npos, what);
      CHECK_MESSAGE(what.find("on n") != std::string::npos, what);
      CHECK_MESSAGE(what.find("copied") != std::string::npos, what);
    }
    CHECK(all_slots_become_free(*gang.cluster, 4));
  }
}
