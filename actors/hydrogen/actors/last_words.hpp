#pragma once
// When user code ends the whole process (a crash, exit, abort), the last thing that happens is a line that says which
// task did it, taken from the log scope of the thread. An executor process writes it into a pipe that its agent reads
// when the process is gone; an embedded run writes it to standard error.

#include <string>

namespace hydrogen::actors {

/// Installs handlers for fatal signals and for exit. `fd` gets one line; it stays open. `prefix` begins the line. Once
/// per process. exit() of a thread that runs no task is left alone.
void install_last_words(int fd, std::string prefix);

}  // namespace hydrogen::actors
