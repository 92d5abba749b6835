// `start`: a tiny job as a whole process: fork, exec, load, one parallel job, exit.

#include "bench.hpp"
#include "process.hpp"
#include <spdlog/fmt/fmt.h>

namespace hydrogen::bench {
namespace {

void start(session& s) {
  const auto program = program_folder() + "/hydrogen";
  const auto whole = [&](const std::vector<std::string>& command) {
    return sample_ms(s.rounds(50), [&] {
      const auto ran = value_or_throw(run_program(command));
      if (ran.code != 0)
        throw failure({errc::task_failed, fmt::format("{} ended with {}", command[0], ran.code), {}, {}});
    });
  };
  // The limit: what any program of this size pays before its first own instruction.
  const auto limit = median(whole({program, "version"}));
  s.report({.name = "hydrogen run pi",
            .size = "1000 samples",
            .unit = "ms",
            .samples = whole({program, "run", "pi", "--", "--samples", "1000"}),
            .beside = reference{"hydrogen version", limit},
            .aim = goal{goal::kind::at_most, 20},
            .note = {}});
}

const registration registered{"start", "`hydrogen run pi` with a tiny job, as a whole process", start};

}  // namespace
}  // namespace hydrogen::bench
