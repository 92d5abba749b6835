#include "disturbed_process.hpp"

#include "disturbed_rank.hpp"
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <fstream>

namespace hydrogen::comm::testing {

const std::vector<team_shape>& team_shapes() {
  static const std::vector<team_shape> all{
      {.name = "memory", .between = "memory"},
      {.name = "stages", .between = "stages"},
      {.name = "links", .between = "links"},
      {.name = "tcp", .between = "tcp"},
      {.name = "inproc", .between = "tcp", .process = {0, 0, 1}, .each_rank = true},
      {.name = "islands", .between = "memory", .host = {0, 0, 1}, .each_rank = true}};
  return all;
}

const team_shape& team_shape_named(const std::string& name) {
  const auto& all = team_shapes();
  return *std::find_if(all.begin(), all.end(), [&](const auto& s) { return s.name == name; });
}

char state_of(int process, int thread) {
  std::ifstream in(fmt::format("/proc/{}/task/{}/stat", process, thread));
  std::string line;
  std::getline(in, line);
  const auto at = line.rfind(") ");
  return at == std::string::npos || at + 2 >= line.size() ? 0 : line[at + 2];
}

team_process::team_process(const secret& key, const std::string& between, int host)
    : process_(key, between, disturbed_role, host) {}

void team_process::say(std::uint32_t rank, const std::string& what) {
  process_.say(fmt::format("{} {}", rank, what));
}

std::string team_process::hear(std::uint32_t rank) {
  auto& mine = heard_[rank];
  while (mine.empty()) {
    const auto line = process_.hear();
    if (line.size() < 2) return {};
    heard_.at(static_cast<std::size_t>(line[0] - '0')).push_back(line.substr(2));
  }
  auto line = std::move(mine.front());
  mine.pop_front();
  return line;
}

}  // namespace hydrogen::comm::testing
