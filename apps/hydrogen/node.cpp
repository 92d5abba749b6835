// hydrogen node, hydrogen secret, and the hidden executor: the processes of a cluster.

#include <hydrogen/actors/executor_process.hpp>
#include <hydrogen/actors/runtime.hpp>
#include <hydrogen/base/node_config.hpp>
#include <hydrogen/base/units.hpp>
#include <hydrogen/comm/secret.hpp>

#include "cli.hpp"
#include <spdlog/fmt/fmt.h>

#include <array>
#include <charconv>
#include <iostream>

namespace hydrogen::program {

int node(arguments args) {
  command_line line("hydrogen node", "Be a node of a cluster: its coordinator, an agent that runs tasks, or both",
                    "hydrogen node --config FILE [OPTIONS]");
  std::string file, name;
  int parent_fd = -1;
  bool check = false;
  line.text("--config", file, "FILE", "Config file; config/ in the project holds examples with every key",
            {.required = true});
  line.text("--name", name, "NAME", "Name of this node, instead of node.name of the file");
  line.toggle("--check", check, "Read the config file, say what is wrong with it, and end");
  line.number("--parent-fd", parent_fd, 0, 1 << 20, "FD", "", {.hidden = true});
  line.footer(
      "Runs until SIGTERM or SIGINT. Exit codes: 0 ended when asked to, 1 failed, 2 bad input (such as the config).");
  if (const auto code = read(line, std::move(args))) return *code;

  auto config = load_node_config(file, name);
  if (!config) {
    for (const auto& e : config.error()) std::cerr << fmt::format("hydrogen node: {}\n", e.message());
    return exit_bad_input;
  }
  if (check) {
    std::cout << fmt::format(
        "{}: good; node '{}' is {}, {} slots, coordinator at {}, data in {}\n", file, config->node.name,
        config->node.coordinator && config->node.agent ? "coordinator and agent"
                                                       : (config->node.agent ? "an agent" : "a coordinator"),
        config->node.agent ? config->agent.slots : 0, config->coordinator.address, config->node.data_dir);
    return exit_done;
  }
  config->parent_fd = parent_fd;
  return actors::run_node(*config);
}

int secret(arguments args) {
  command_line line("hydrogen secret", "Make the secret that all processes of a cluster must know",
                    "hydrogen secret new FILE");
  std::string verb, file;
  line.argument("new", verb, "Writes a fresh secret into a new FILE with mode 0600");
  line.argument("FILE", file, "Named by cluster.secret_file in configs, and by --secret of submit and status");
  if (const auto code = read(line, std::move(args))) return *code;
  if (verb != "new") return refuse(line, fmt::format("unknown verb '{}', the only one is 'new'", verb));
  if (auto saved = comm::secret::random().save_new(file); !saved) return report(line.name(), saved.error());
  return exit_done;
}

int executor(arguments args) {
  std::array<std::int64_t, 3> numbers{-1, -1, -1};  // descriptor; heartbeat interval and timeout in us
  bool good = args.size() == numbers.size();
  for (std::size_t i = 0; good && i < numbers.size(); ++i) {
    const auto* end = args[i].data() + args[i].size();
    const auto [rest, code] = std::from_chars(args[i].data(), end, numbers[i]);
    good = code == std::errc{} && rest == end && numbers[i] >= (i == 0 ? 0 : 1);
  }
  if (!good) {
    std::cerr << "hydrogen executor: is started by a node, with the descriptor of its control socket and heartbeats\n";
    return exit_bad_input;
  }
  comm::connection_options connections;
  connections.heartbeat_interval = std::chrono::microseconds(numbers[1]);
  connections.heartbeat_timeout = std::chrono::microseconds(numbers[2]);
  return actors::run_executor(static_cast<int>(numbers[0]), connections);
}

}  // namespace hydrogen::program
