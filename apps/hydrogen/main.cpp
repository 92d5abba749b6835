// The `hydrogen` program: finds the command and hands it the rest of the line.

#include <hydrogen/base/nearest.hpp>

#include "cli.hpp"
#include <spdlog/fmt/fmt.h>

#include <iostream>

namespace hydrogen::program {
namespace {

struct command {
  std::string name;
  std::string summary;  // empty: not shown
  int (*main)(arguments);
};

const std::vector<command>& commands() {
  static const std::vector<command> list{
      {"run", "Run an application on this machine, embedded or on node processes", run},
      {"node", "Be a node of a cluster: its coordinator, an agent, or both", node},
      {"submit", "Run an application on a cluster", submit},
      {"status", "Show nodes, slots, runs, and why each request waits", status},
      {"drain", "Let a node run empty, or use it again", drain},
      {"secret", "Make the secret of a cluster", secret},
      {"version", "Print the version and what it was built with", version},
      {"executor", "", executor},
  };
  return list;
}

std::string help() {
  std::string text =
      "An actor-model dataflow engine: parallel stages and gang-scheduled barrier stages in one program\n\n"
      "Usage: hydrogen COMMAND [ARGS...]\n\nCommands:\n";
  for (const auto& c : commands()) {
    if (!c.summary.empty()) text += fmt::format("  {:<10}{}\n", c.name, c.summary);
  }
  text +=
      "\n'hydrogen COMMAND --help' describes a command. First contact: hydrogen run pi\n"
      "Exit codes: 0 done, 1 the application or its job failed, 2 bad input, 130 interrupted.\n";
  return text;
}

int main(arguments args) {
  if (args.empty()) {
    std::cerr << help();
    return exit_bad_input;
  }
  auto name = args.front();
  args.erase(args.begin());
  if (name == "-h" || name == "--help" || (name == "help" && args.empty())) {
    std::cout << help();
    return exit_done;
  }
  if (name == "help") {  // `hydrogen help run` is `hydrogen run --help`
    name = args.front();
    args = {"--help"};
  }
  if (name == "--version" || name == "-V") name = "version";
  std::vector<std::string> known;
  for (const auto& c : commands()) {
    if (c.name == name) return c.main(std::move(args));
    if (!c.summary.empty()) known.push_back(c.name);
  }
  const auto near = nearest_name(name, known);
  std::cerr << fmt::format("hydrogen: '{}' is not a command{}\nTry 'hydrogen --help'.\n", name,
                           near ? fmt::format(", did you mean '{}'?", *near) : "");
  return exit_bad_input;
}

}  // namespace

int version(arguments args) {
  command_line line("hydrogen version", "Print the version and what it was built with", "hydrogen version");
  if (const auto code = read(line, std::move(args))) return *code;
  std::cout << fmt::format("hydrogen {} ({}, g++ {})\n", HYDROGEN_VERSION, HYDROGEN_BUILD, __VERSION__);
  return exit_done;
}

}  // namespace hydrogen::program

int main(int argc, char** argv) {
  return hydrogen::program::main(hydrogen::program::arguments(argv + std::min(argc, 1), argv + argc));
}
