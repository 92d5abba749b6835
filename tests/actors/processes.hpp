#pragma once
// Looks at the processes of a cluster through /proc, and signals them by their numbers.

#include "support.hpp"
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace hydrogen::test {

/// Empty when the process that the file is about is gone, before or while it is read.
inline std::string text_of(const std::string& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

/// The fields behind the name in /proc/PID/stat: state, parent, ...; empty when the process is gone.
inline std::vector<std::string> state_of(pid_t pid) {
  const auto text = text_of("/proc/" + std::to_string(pid) + "/stat");
  std::istringstream rest(text.substr(text.rfind(')') + 1));
  return {std::istream_iterator<std::string>(rest), {}};
}

/// Neither gone nor a zombie.
inline bool alive(pid_t pid) {
  const auto state = state_of(pid);
  return !state.empty() && state[0] != "Z";
}

/// Executor processes, at work or spare, of this node process.
inline std::vector<pid_t> executors_of(pid_t node) {
  std::vector<pid_t> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto pid = static_cast<pid_t>(std::stol(name));
    const auto state = state_of(pid);
    if (state.size() > 1 && state[0] != "Z" && state[1] == std::to_string(node)) found.push_back(pid);
  }
  return found;
}

inline std::size_t entries_of(const std::string& folder) {
  std::error_code ignored;
  const std::filesystem::directory_iterator all(folder, ignored);
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}
inline std::size_t descriptors_of(pid_t pid) {
  return entries_of("/proc/" + std::to_string(pid) + "/fd");
}
inline std::size_t threads_of(pid_t pid) {
  return entries_of("/proc/" + std::to_string(pid) + "/task");
}

inline void signal_process(pid_t pid, int number) {
  REQUIRE(pid > 1);
  REQUIRE(kill(pid, number) == 0);
}

/// Returns when all of its threads have stopped: each does when it is scheduled next.
inline void stop_process(pid_t pid) {
  signal_process(pid, SIGSTOP);
  wait_until("the threads stop", [&] {
    for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
      std::string stat;
      std::getline(std::ifstream(thread.path() / "stat"), stat);
      if (stat.find(") T ") == std::string::npos) return false;
    }
    return true;
  });
}

}  // namespace hydrogen::test
