#pragma once
// Runs scenarios of the test application on a cluster, in this process or on node processes.

#include <hydrogen/actors/local_cluster.hpp>
#include <hydrogen/exec/application.hpp>
#include <hydrogen/plan/context.hpp>

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace hydrogen::test {

inline const exec::application& test_application() {
  static const auto app = value_or_throw(exec::load_application(HYDROGEN_TEST_APPLICATION));
  return app;
}

inline gang::application_ref reference() {
  const auto& app = test_application();
  gang::application_ref ref;
  ref.run = make_run_id();
  ref.name = app.name;
  ref.library = app.path;
  ref.hash = app.hash;
  ref.size = std::filesystem::file_size(app.path);
  return ref;
}

inline std::unique_ptr<actors::local_cluster> start(actors::cluster_kind kind, std::uint32_t nodes,
                                                    std::uint32_t slots) {
  actors::cluster_options options;
  options.kind = kind;
  options.nodes = nodes;
  options.slots = slots;
  options.program = HYDROGEN_PROGRAM;
  options.log_level = "error";
  return value_or_throw(actors::local_cluster::start(options));
}

/// Enters the application with these arguments; throws what it throws.
inline void run(actors::local_cluster& cluster, std::vector<std::string> args) {
  auto driver = value_or_throw(cluster.open(reference()));
  struct closing {
    actors::driver& d;
    ~closing() { d.close(); }
  } closing{*driver};
  plan::context ctx(*driver, std::move(args));
  test_application().entry(ctx);
}

inline error error_of(actors::local_cluster& cluster, std::vector<std::string> args) {
  try {
    run(cluster, std::move(args));
  } catch (const failure& e) {
    auto all = e.reason();
    all.what = e.what();
    return all;
  }
  FAIL("the scenario did not fail");
  return {};
}

inline std::uint32_t free_slots(actors::local_cluster& cluster) {
  std::uint32_t free = 0;
  for (const auto& node : value_or_throw(cluster.status()).nodes) free += node.free;
  return free;
}

inline std::vector<std::string> lines_of(const std::string& file) {
  std::ifstream in(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace hydrogen::test
