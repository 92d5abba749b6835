// hydrogen drain: nothing new begins on a node; what runs there ends by itself.

#include <hydrogen/actors/runtime.hpp>
#include <hydrogen/base/node_config.hpp>

#include "cli.hpp"
#include <spdlog/fmt/fmt.h>

#include <iostream>

namespace hydrogen::program {

int drain(arguments args) {
  command_line line("hydrogen drain",
                    "Let a node run empty: gangs there run to their end, stages hand their slots back at task ends,\n"
                    "and nothing new begins. Holds until --undo, whatever is restarted",
                    "hydrogen drain [OPTIONS] NODE --cluster HOST:PORT");
  std::string name, cluster, secret_file = default_secret_file();
  bool undo = false;
  double timeout = 5;
  line.argument("NODE", name, "Its name, as `hydrogen status` shows it");
  line.text("--cluster", cluster, "HOST:PORT", "Address of the coordinator", {.required = true});
  line.text("--secret", secret_file, "FILE",
            fmt::format("Secret of the cluster, also $HYDROGEN_SECRET [{}]", secret_file));
  line.toggle("--undo", undo, "Use the node again");
  line.number("--timeout", timeout, 0.01, 3600, "SECONDS", "How long the coordinator may take [5]");
  line.footer("Exit codes: 0 done, 1 the cluster did not answer, 2 bad input.");
  if (const auto code = read(line, std::move(args))) return *code;
  if (const auto address = parse_host_port(cluster); !address)
    return refuse(line, "--cluster: " + address.error().message());

  const auto limit = std::chrono::duration_cast<duration>(std::chrono::duration<double>(timeout));
  const auto done = actors::drain_node(cluster, secret_file, name, !undo, limit);
  if (!done) return report(line.name(), done.error());
  std::cout << fmt::format("{} {}\n", name,
                           undo ? "is used again" : "is drained: `hydrogen status` shows when it is empty");
  return exit_done;
}

}  // namespace hydrogen::program
