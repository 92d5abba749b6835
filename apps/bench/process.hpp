#pragma once
// Runs a program and waits for it. Main thread only.

#include <hydrogen/base/error.hpp>

#include <string>
#include <vector>

namespace hydrogen::bench {

struct program_result {
  int code = 0;        // exit code; 128 + signal
  std::string output;  // standard output; standard error is ours
};

/// arguments[0] is the program, looked for in PATH when it has no '/'.
expected<program_result> run_program(const std::vector<std::string>& arguments);

/// The folder that this program lies in.
std::string program_folder();

}  // namespace hydrogen::bench
