#pragma once
// The job machine: turns the graph of one job into tasks on leased slots and decides everything about them: which stage
// may run, how many slots to ask for, which task goes where, what is tried again, what is computed again from lineage
// when blocks are lost, when a gang is retried, and when the job is done. A pure machine (no clock, thread, socket or
// actor): events go in, effects come out, and the same events give the same effects.
//
// One machine per job, owned by its job actor; not thread-safe. It owns no blocks, only descriptions of them.
//
//   result <- stage <- ... : a stage's partitions are required from the result backwards, so only what is needed runs.
//   partition: idle -> waiting (inputs missing) -> ready (queued here) -> sent (at an executor) -> done
//                ^------- output lost and needed again ------------------------------------------/
//
// Cost: a finished task and the next task sent are O(1) in the number of tasks; lost blocks cost one pass over the job.
// Errors never leave as exceptions: they are the `failed` effect. After `finished` or `failed` the actor goes on
// feeding events until `over()`: leases and gangs are confirmed gone, or options::confirm_limit has passed.

#include <hydrogen/job/effect.hpp>
#include <hydrogen/job/event.hpp>
#include <hydrogen/job/options.hpp>
#include <hydrogen/plan/graph.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace hydrogen::job {

struct setup {
  plan::job_graph graph;
  run_id run;
  std::uint32_t job = 0;  // number of the job within its run
  gang::application_ref app;
  std::string storage_dir;        // for checkpoints: a path that all nodes and the driver share
  std::vector<kept_output> kept;  // outputs of earlier jobs of the run, used where a stage has the same `keep_as`
  options opt;
};

/// For people: what stands in `status` and in log lines.
struct stage_progress {
  std::string label;
  std::uint32_t partitions = 0;
  std::uint32_t done = 0;
  std::uint32_t running = 0;   // at executors, queued there included
  std::uint32_t failures = 0;  // of tasks or gang attempts, so far
  std::string waiting_for;     // the coordinator's reason; empty when it waits for nothing
};

/// What the driver answers when the coordinator speaks about a job whose machine is over (or never was): a message that
/// was late may have made one of its requests again. Nothing for messages that need no answer.
std::vector<gang::from_job> answer_for_ended_job(const gang::to_job&);

class core;

class machine {
 public:
  explicit machine(setup);
  ~machine();
  machine(machine&&) noexcept;
  machine& operator=(machine&&) noexcept;

  /// Appends the effects to `out`, so that an actor can take many events before it flushes.
  void on(event, time_point now, std::vector<effect>& out);
  std::vector<effect> on(event, time_point now);

  /// When to send `timer`; `never` once it is over.
  time_point next_wakeup() const;

  /// `finished` or `failed` was given out.
  bool ended() const;
  /// Nothing is left to confirm: the machine may be destroyed.
  bool over() const;

  std::vector<stage_progress> progress() const;

 private:
  std::unique_ptr<core> core_;
};

}  // namespace hydrogen::job
