// hydrogen drain: nothing new begins on a node; what runs there ends by itself.

#include <hydrogen/actors/runtime.hpp>

#include "cli.hpp"
#include <spdlog/fmt/fmt.h>

#include <iostream>

namespace hydrogen::program {

int drain(arguments args) {
  command_line line("hydrogen drain",
                    "Let a node run empty: gangs there run to their end, stages hand their slots back at task ends,\n"
                    "and nothing new begins. Holds until --undo, whatever is restarted",
                    "hydrogen drain [OPTIONS] NODE --cluster HOST:PORT");
  std::string name;
  bool undo = false;
  question ask;
  line.argument("NODE", name, "Its name, as `hydrogen status` shows it");
  line.toggle("--undo", undo, "Use the node again");
  ask.describe(line);
  if (const auto code = read(line, std::move(args))) return *code;
  if (const auto code = ask.check(line)) return *code;
  const auto done = actors::drain_node(ask.cluster, ask.secret_file, name, !undo, ask.limit());
  if (!done) return report(line.name(), done.error());
  std::cout << fmt::format("{} {}\n", name,
                           undo ? "is used again" : "is drained: `hydrogen status` shows when it is empty");
  return exit_done;
}

}  // namespace hydrogen::program
