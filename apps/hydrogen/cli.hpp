#pragma once
// What the commands share on top of <cli/command_line.hpp>: messages on standard error, exit codes. Main thread only.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/error.hpp>

#include "commands.hpp"
#include <cli/command_line.hpp>

#include <optional>
#include <string>

namespace hydrogen::program {

using cli::command_line;

/// Reads `args`. What it returns, if anything, is the exit code: the help was asked for, or something is wrong, and the
/// message is out. With `own_arguments` what follows a "--" is kept in `line.rest()`.
std::optional<int> read(command_line& line, arguments args, bool own_arguments = false);

/// "hydrogen run: WHAT" and where the help is, on standard error; returns `exit_bad_input`.
int refuse(const command_line& line, const std::string& what);

/// "hydrogen run: MESSAGE" on standard error; the exit code that belongs to the kind of error.
int report(const std::string& command, const error& e);

/// Where the secret of a cluster is looked for without --secret: $HYDROGEN_SECRET, else cluster.secret in
/// $XDG_CONFIG_HOME/hydrogen (~/.config/hydrogen).
std::string default_secret_file();

/// The options of commands that ask the coordinator one question.
struct question {
  std::string cluster;
  std::string secret_file = default_secret_file();
  double seconds = 5;
  void describe(command_line& line);
  /// After the line was read; the exit code if the address is none, and the message is out.
  std::optional<int> check(const command_line& line) const;
  duration limit() const { return std::chrono::duration_cast<duration>(std::chrono::duration<double>(seconds)); }
};

}  // namespace hydrogen::program
