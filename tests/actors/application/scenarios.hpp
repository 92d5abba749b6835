#pragma once
// What the scenarios of the test application share.

#include <hydrogen/hydrogen.hpp>

#include <fstream>
#include <stdexcept>
#include <string>

namespace hydrogen::scenarios {

inline void expect(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error("scenario: " + what);
}

/// Appends one line to a file, atomically, so that the test can count what ranks and tasks did.
inline void note(const std::string& file, const std::string& line) {
  std::ofstream(file, std::ios::app) << line + "\n" << std::flush;
}

// ---- scenarios that wait for the test at gates: files that the test makes (gated.cpp) ----

/// warm_gang RANKS RETRIES NOTES. A gang that starts the executors ("warm RANK PID"); then, behind the gate
/// NOTES.start, the one that counts: "enter RANK PID", the gate NOTES.finish, "return RANK".
void warm_gang(context&);
/// busy TASKS NOTES. A parallel stage: "task I PID", then the gate NOTES.I.
void busy(context&);

/// watched_gang EVERYWHERE RANKS RETRIES NOTES meets|computes. A gang of EVERYWHERE ranks that starts executors; then
/// one of RANKS whose first attempt ends only by what is done to it: "enter RANK ATTEMPT MICROSECONDS PID", and "told
/// RANK MICROSECONDS" when a rank knows that its attempt is over (watched.cpp).
void watched_gang(context&);

/// zombies RANKS ROUNDS NOTES. A gang for each round, behind the gate NOTES.ROUND.start, whose notes are NOTES.ROUND
/// (and which ends early at NOTES.over). Its first attempt waits to be stopped ("enter RANK PID", "stop now"; in odd
/// rounds it writes checkpoints meanwhile: "step N"). Ranks that go on when .go is there do what they can ("zombie
/// RANK", "accepted
/// ...", "ends RANK"); the next attempt ("again RANK PID ATTEMPT") waits at .finish. "right" when the result is
/// (zombies.cpp).
void zombies(context&);

/// devices RANKS COUNT SHARED_BY NOTES FAULT. A gang whose ranks compute on COUNT devices each, shared by SHARED_BY:
/// "device ATTEMPT RANK ID PID"; on rank 1 something goes wrong, in the first attempt or always (devices.cpp).
void devices(context&);
/// device_tasks TASKS COUNT SHARED_BY NOTES FAULT. The same by the tasks of a parallel stage: "task I TRY ID PID
/// USERS", with how many tasks of its process use its first device then; something goes wrong at task 1, in its first
/// try.
void device_tasks(context&);
void kernel_actors(hydrogen::context&);

// ---- sizes (gated.cpp) ----

/// large_result MIB. Collects so many MiB of flat rows and looks at all of them.
void large_result(context&);
/// large_argument MIB TASKS NOTES. A model of so many MiB as an argument of map; "task I PID" for each task.
void large_argument(context&);

}  // namespace hydrogen::scenarios
