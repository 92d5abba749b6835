#pragma once
// The commands of the `hydrogen` program. Each gets the arguments after its name and returns the exit code; its errors
// are already on standard error. Main thread only.

#include <string>
#include <vector>

namespace hydrogen::program {

using arguments = std::vector<std::string>;

// Exit codes, the same for every command (and in the help).
inline constexpr int exit_done = 0;
inline constexpr int exit_failed = 1;     // the application or its job failed, or the cluster did not answer
inline constexpr int exit_bad_input = 2;  // unknown command or flag, a bad value, a file that cannot be used

int run(arguments);
int submit(arguments);
int node(arguments);
int status(arguments);
int drain(arguments);
int secret(arguments);
int version(arguments);
int executor(arguments);  // hidden: a process that an agent starts

}  // namespace hydrogen::program
