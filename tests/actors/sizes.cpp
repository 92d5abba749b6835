// Large results and large arguments.

#include "support.hpp"

#include <set>

using namespace hydrogen;
using namespace hydrogen::test;
using actors::cluster_kind;

namespace {

constexpr std::uint64_t mebibyte = 1 << 20;

/// Of the machine now, in bytes.
std::uint64_t memory_available() {
  std::ifstream in("/proc/meminfo");
  for (std::string name; in >> name;) {
    std::uint64_t kibibytes = 0;
    if (name == "MemAvailable:" && in >> kibibytes) return kibibytes * 1024;
  }
  return 0;
}

}  // namespace

TEST_CASE("a result of 1 GiB comes to the driver whole") {
  if (memory_available() < 5000 * mebibyte) {
    MESSAGE("not enough memory here for a result of 1 GiB");
    return;
  }
  auto cluster = start(cluster_kind::processes, 1, 4);
  run(*cluster, {"large_result", "1024"});
  CHECK(all_slots_become_free(*cluster, 4));
}

TEST_CASE("a result above the driver's limit is refused with both sizes, and its job is over") {
  for (const auto kind : {cluster_kind::in_process, cluster_kind::processes}) {
    CAPTURE(static_cast<int>(kind));
    auto cluster = start(kind, 1, 4);
    run_options options;
    options.session.max_result = 4 * mebibyte;
    const auto why = error_of(*cluster, {"large_result", "64"}, options);
    CHECK(why.code == errc::over_limit);
    CHECK_MESSAGE(why.what.find("at most 4194304") != std::string::npos, why.what);
    CHECK_MESSAGE(why.what.find("has at least 5242880 bytes") != std::string::npos, why.what);
    CHECK_MESSAGE(why.what.find("--max-result") != std::string::npos, why.what);
    CHECK(all_slots_become_free(*cluster, 4));
    run(*cluster, {"large_result", "4"}, options);
  }
}

TEST_CASE("a large argument of map is sent to each executor once, however many tasks use it") {
  constexpr std::uint64_t size = 100 * mebibyte;
  auto cluster = start(cluster_kind::processes, 2, 4);
  const auto notes = cluster->options().directory + "/notes";
  const auto before = cluster->home().bytes_served();
  run(*cluster, {"large_argument", "100", "12", notes});
  std::set<std::string> executors;
  for (const auto& line : lines_with(notes, "task")) executors.insert(line.substr(line.rfind(' ') + 1));
  const auto sent = cluster->home().bytes_served() - before;
  CHECK(executors.size() == 2);
  CHECK(sent >= executors.size() * size);
  CHECK(sent < executors.size() * size + 10 * mebibyte);
}

TEST_CASE("another large argument in each round of a loop does not fill the block stores") {
  for (const auto kind : {cluster_kind::in_process, cluster_kind::processes}) {
    CAPTURE(static_cast<int>(kind));
    auto cluster = start(kind, 1, 2, 64 * mebibyte);
    run_options of_run;
    of_run.session.block_budget = 64 * mebibyte;
    run(*cluster, {"large_argument", "20", "4", cluster->options().directory + "/notes", "8"}, of_run);
  }
}
