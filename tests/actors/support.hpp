#pragma once
// Runs scenarios of the test application on a cluster, in this process or on node processes.

#include <hydrogen/actors/local_cluster.hpp>
#include <hydrogen/exec/application.hpp>
#include <hydrogen/plan/context.hpp>

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace hydrogen::test {

inline const exec::application& test_application() {
  static const auto app = value_or_throw(exec::load_application(HYDROGEN_TEST_APPLICATION));
  return app;
}

inline gang::application_ref reference(const exec::application& app) {
  gang::application_ref ref;
  ref.run = make_run_id();
  ref.name = app.name;
  ref.library = app.path;
  ref.hash = app.hash;
  ref.size = std::filesystem::file_size(app.path);
  return ref;
}

inline std::unique_ptr<actors::local_cluster> start(actors::cluster_kind kind, std::uint32_t nodes, std::uint32_t slots,
                                                    std::uint64_t block_budget = std::uint64_t{4} << 30) {
  actors::cluster_options options;
  options.block_budget = block_budget;
  options.kind = kind;
  options.nodes = nodes;
  options.slots = slots;
  options.program = HYDROGEN_PROGRAM;
  options.log_level = "error";
  return value_or_throw(actors::local_cluster::start(options));
}

struct run_options {
  const exec::application& app = test_application();
  actors::session_options session = {};
};

/// Enters the application with these arguments; throws what it throws.
inline void run(actors::local_cluster& cluster, std::vector<std::string> args, const run_options& options = {}) {
  static std::mutex opening;  // a cluster belongs to one thread, drivers do not
  std::unique_lock lock(opening);
  auto driver = value_or_throw(cluster.open(reference(options.app), options.session));
  lock.unlock();
  struct closing {
    actors::driver& d;
    ~closing() { d.close(); }
  } closing{*driver};
  plan::context ctx(*driver, std::move(args));
  options.app.entry(ctx);
}

inline error error_of(actors::local_cluster& cluster, std::vector<std::string> args, const run_options& options = {}) {
  try {
    run(cluster, std::move(args), options);
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

/// Holds of something in the end, or fails. What it looks at is the state of other threads and processes.
template <class Condition>
void wait_until(const char* what, Condition&& condition, duration limit = 60s) {
  for (const auto deadline = now() + limit; !condition(); std::this_thread::yield()) {
    if (now() > deadline) FAIL("never came: " << std::string(what));
  }
}

/// Lines of the file that start like this.
inline std::vector<std::string> lines_with(const std::string& file, const std::string& start) {
  auto lines = lines_of(file);
  std::erase_if(lines, [&](const auto& line) { return !line.starts_with(start); });
  return lines;
}

/// Waits until the file has so many lines that start like this; returns them.
inline std::vector<std::string> wait_for_lines(const std::string& file, const std::string& start, std::size_t n = 1) {
  wait_until(("a line " + start).c_str(), [&] { return lines_with(file, start).size() >= n; });
  return lines_with(file, start);
}

/// The request whose label has this part.
inline std::optional<gang::request_status> request_of(actors::local_cluster& cluster, const std::string& label) {
  for (auto& request : value_or_throw(cluster.status()).requests) {
    if (request.label.find(label) != std::string::npos) return std::move(request);
  }
  return std::nullopt;
}

inline bool all_slots_become_free(actors::local_cluster& cluster, std::uint32_t slots, duration limit = 10s) {
  for (const auto deadline = now() + limit; now() < deadline; std::this_thread::yield()) {
    if (free_slots(cluster) == slots) return true;
  }
  return false;
}

/// Opens a gate that scenarios wait at: makes the file.
inline void open_gate(const std::string& file) {
  std::ofstream(file).put('\n');
}

/// A driver on a thread of its own.
class running {
 public:
  running(actors::local_cluster& cluster, std::vector<std::string> args)
      : thread_([this, &cluster, args = std::move(args)] {
          try {
            run(cluster, args);
          } catch (const std::exception& e) {
            what_ = e.what();
          }
        }) {}
  ~running() {
    if (thread_.joinable()) thread_.join();
  }
  /// Waits for its end; empty when it came out well, else what was thrown.
  std::string end() {
    thread_.join();
    return what_;
  }

 private:
  std::string what_;
  std::thread thread_;
};

}  // namespace hydrogen::test
