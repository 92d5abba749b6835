#pragma once
// Options of the job machine. Durations are measured on the clock that the machine is given.

#include <hydrogen/base/clock.hpp>

#include <cstdint>

namespace hydrogen::job {

struct options {
  /// A message to the coordinator that was not answered is repeated after this; so is a task that was refused, and a
  /// rank's task until its gang has joined. Shorter: more traffic while the other side is slow.
  duration retry_interval = std::chrono::milliseconds(500);

  /// The message of an unfinished task is repeated this often; executors ignore what they already run. Only heals a
  /// message that was lost without its connection being closed.
  duration task_repeat = std::chrono::seconds(10);

  /// Tasks that wait at an executor, per slot of a lease, beyond those that run. 0 leaves a slot idle for one round
  /// trip after each task; large values make recalls and stealing dearer.
  std::uint32_t window = 2;

  /// Of short tasks more wait, so that each slot has work ahead for so long, but at most `most_window` tasks: a slot
  /// that runs dry sleeps and is woken, which costs more than an empty task. Tasks of half of this and more have
  /// `window`. Zero: always `window`.
  duration work_ahead = std::chrono::microseconds(500);
  std::uint32_t most_window = 64;

  /// An executor that refuses the tasks of a lease, or a rank, for so long: the lease is given back, the gang retried.
  duration refusal_limit = std::chrono::seconds(10);

  /// After a lease ended with its executor alive (restart, recall), results that are on the way are still accepted for
  /// so long; then the tasks are run again.
  duration late_result_grace = std::chrono::milliseconds(300);

  /// A connection to an executor was closed: if no word of its death comes within this, its tasks are run again
  /// elsewhere (what was in the connection may be lost). Also how long it is then left alone.
  duration unreachable_grace = std::chrono::seconds(3);

  /// How often the output of one partition may be lost and computed again before the job fails. Keeps an input that
  /// kills whoever computes or reads it from going round for ever.
  std::uint32_t max_recomputes = 8;

  /// How often one task may be interrupted by what is not its failure (its executor died or was stopped while it ran,
  /// an input was missing) before the job fails.
  std::uint32_t max_interruptions = 16;

  /// A node on which so many tasks failed within `exclude_for` is avoided for `exclude_for`.
  std::uint32_t exclude_after = 3;
  duration exclude_for = std::chrono::seconds(60);

  /// Of all its requests: higher goes first, and gangs of lower priority give way.
  std::int32_t priority = 0;

  /// A request for slots that is not served within this fails the job with the coordinator's reason. Zero: wait.
  duration start_limit = duration::zero();

  /// The coordinator may be away for so long; then the job fails.
  duration coordinator_limit = std::chrono::minutes(10);

  /// After its end the machine waits so long for the confirmation that all its slots are free.
  duration confirm_limit = std::chrono::seconds(10);

  /// Output of a barrier stage up to this size (bytes, all ranks) belongs in the memory of the driver's store; each
  /// `copy_blocks` that goes beyond it says so, and the driver may keep those blocks elsewhere, on checkpoint storage
  /// for instance. Either way the driver serves them afterwards.
  std::uint64_t copy_limit = std::uint64_t{64} << 20;
};

}  // namespace hydrogen::job
