// hydrogen run, hydrogen submit: drive an application.

#include <hydrogen/actors/runtime.hpp>
#include <hydrogen/base/cpus.hpp>
#include <hydrogen/base/node_config.hpp>

#include "cli.hpp"
#include "find_application.hpp"
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdlib>

namespace hydrogen::program {
namespace {

constexpr std::uint64_t mebibyte = 1 << 20;

std::string from_environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}

/// What every driver has.
void describe_driver(command_line& line, std::string& name, actors::driver_options& driver) {
  driver.log_level = from_environment("HYDROGEN_LOG", "warning");
  line.argument("NAME", name, "Application: libNAME.so in $HYDROGEN_PATH or ../lib/hydrogen, or the path of a .so");
  line.text("--storage", driver.storage_dir, "DIR",
            "Folder for checkpoints, the same for every node [a temporary one]");
  line.size("--max-result", driver.max_result, mebibyte, "What one action may bring to the driver");
  line.size("--block-budget", driver.block_budget, mebibyte, "Bytes of blocks one process keeps in memory");
  line.choice("--log", driver.log_level, {"trace", "debug", "info", "warning", "error", "off"}, "LEVEL",
              fmt::format("Least level that is logged, also $HYDROGEN_LOG [{}]", driver.log_level));
  line.footer(
      "Exit codes: 0 done, 1 the application or its job failed, 2 bad input, 130 interrupted.\n"
      "The first Ctrl-C cancels the jobs and waits for them to end, the second ends at once.");
}

std::optional<int> resolve(const command_line& line, const std::string& name, actors::driver_options& driver) {
  auto path = find_application(name);
  if (!path) return report(line.name(), path.error());
  driver.application = std::move(*path);
  driver.arguments = line.rest();
  return std::nullopt;
}

}  // namespace

int run(arguments args) {
  command_line line("hydrogen run", "Run an application on this machine, embedded or on node processes",
                    "hydrogen run [OPTIONS] NAME|PATH.so [-- ARGS...]");
  std::string name;
  actors::driver_options driver;
  std::uint32_t slots = std::max(4U, usable_cpus());
  std::uint32_t nodes = 0, virtual_gpus = 0;
  int hang_seconds = 5;
  describe_driver(line, name, driver);
  line.number("--slots", slots, 1, 4096, "N",
              fmt::format("Tasks at a time, on each node [cores, at least 4: {}]", slots));
  line.number("--nodes", nodes, 1, 64, "N", "Start N node processes on loopback for the run [none: embedded]");
  line.number("--virtual-gpus", virtual_gpus, 0, 64, "N",
              "GPUs that are threads of each node, instead of those of this machine [0: those of this machine]");
  line.number("--hang-limit", hang_seconds, 1, 3600, "SECONDS", "", {.hidden = true});
  if (const auto code = read(line, std::move(args), true)) return *code;
  if (const auto code = resolve(line, name, driver)) return *code;
  return nodes == 0
             ? actors::run_embedded(
                   driver,
                   {.slots = slots, .virtual_gpus = virtual_gpus, .hang_limit = std::chrono::seconds(hang_seconds)})
             : actors::run_processes(driver, {.nodes = nodes, .slots = slots, .virtual_gpus = virtual_gpus});
}

int submit(arguments args) {
  command_line line("hydrogen submit", "Run an application on a cluster; this process is its driver",
                    "hydrogen submit [OPTIONS] NAME|PATH.so --cluster HOST:PORT [-- ARGS...]");
  std::string name, cluster, secret_file = default_secret_file();
  actors::driver_options driver;
  describe_driver(line, name, driver);
  line.text("--cluster", cluster, "HOST:PORT", "Address of the coordinator", {.required = true});
  line.text("--secret", secret_file, "FILE",
            fmt::format("Secret of the cluster, also $HYDROGEN_SECRET [{}]", secret_file));
  line.number("--priority", driver.priority, -1000, 1000, "N",
              "Higher goes first, and gangs of lower priority give way [0]");
  if (const auto code = read(line, std::move(args), true)) return *code;
  if (const auto address = parse_host_port(cluster); !address)
    return refuse(line, "--cluster: " + address.error().message());
  if (const auto code = resolve(line, name, driver)) return *code;
  return actors::submit(driver, cluster, secret_file);
}

}  // namespace hydrogen::program
