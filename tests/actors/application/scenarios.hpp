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

// ---- sizes (gated.cpp) ----

/// large_result MIB. Collects so many MiB of flat rows and looks at all of them.
void large_result(context&);
/// large_argument MIB TASKS NOTES. A model of so many MiB as an argument of map; "task I PID" for each task.
void large_argument(context&);

}  // namespace hydrogen::scenarios
