#include "cli.hpp"

#include <hydrogen/base/node_config.hpp>

#include <spdlog/fmt/fmt.h>

#include <cstdlib>
#include <iostream>

namespace hydrogen::program {

std::optional<int> read(command_line& line, arguments args, bool own_arguments) {
  const auto outcome = line.read(std::move(args), own_arguments);
  if (outcome.wants_help) {
    std::cout << line.help();
    return exit_done;
  }
  if (!outcome.problem.empty()) return refuse(line, outcome.problem);
  return std::nullopt;
}

int refuse(const command_line& line, const std::string& what) {
  std::cerr << fmt::format("{}: {}\nTry '{} --help'.\n", line.name(), what, line.name());
  return exit_bad_input;
}

int report(const std::string& command, const error& e) {
  std::cerr << fmt::format("{}: {}\n", command, e.message());
  const bool input = e.code == errc::bad_input || e.code == errc::not_found || e.code == errc::refused;
  return input ? exit_bad_input : exit_failed;
}

std::string default_secret_file() {
  const auto get = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (auto file = get("HYDROGEN_SECRET"); !file.empty()) return file;
  auto folder = get("XDG_CONFIG_HOME");
  if (folder.empty()) folder = get("HOME") + "/.config";
  return folder + "/hydrogen/cluster.secret";
}

void question::describe(command_line& line) {
  line.text("--cluster", cluster, "HOST:PORT", "Address of the coordinator", {.required = true});
  line.text("--secret", secret_file, "FILE",
            fmt::format("Secret of the cluster, also $HYDROGEN_SECRET [{}]", secret_file));
  line.number("--timeout", seconds, 0.01, 3600, "SECONDS", "How long the coordinator may take [5]");
  line.footer("Exit codes: 0 done, 1 the cluster did not answer, 2 bad input.");
}

std::optional<int> question::check(const command_line& line) const {
  if (const auto address = parse_host_port(cluster); !address)
    return refuse(line, "--cluster: " + address.error().message());
  return std::nullopt;
}

}  // namespace hydrogen::program
