#include "peer.hpp"

#include "process.hpp"
#include <nlohmann/json.hpp>
#include <spdlog/fmt/fmt.h>

namespace hydrogen::bench {

peer_figure measure_peer(const std::string& peer, const std::string& work, const std::vector<std::string>& arguments,
                         int rounds) {
  std::vector<std::string> command{"python3", HYDROGEN_PEERS, peer, work, std::to_string(rounds)};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const auto ran = run_program(command);
  if (!ran) return {peer, 0, ran.error().message()};
  const auto answer = nlohmann::json::parse(ran->output, nullptr, false);
  if (ran->code != 0 || !answer.is_object()) return {peer, 0, fmt::format("{} failed with code {}", peer, ran->code)};
  if (answer.contains("missing")) return {peer, 0, fmt::format("{} is not installed", peer)};
  return {fmt::format("{} {}", peer, answer.at("version").get<std::string>()),
          median(answer.at("milliseconds").get<std::vector<double>>()),
          {}};
}

void report_beside_peers(session& s, const result& mine, const std::vector<peer_figure>& peers) {
  bool any = false;
  std::string problems;
  for (const auto& p : peers) {
    if (p.problem.empty()) {
      auto one = mine;
      one.beside = reference{p.name, p.median};
      s.report(std::move(one));
      any = true;
    } else {
      problems += (problems.empty() ? "" : ", ") + p.problem;
    }
  }
  if (any) {
    if (!problems.empty()) s.remark(problems);
    return;
  }
  auto alone = mine;
  // A goal that is a ratio says nothing without what it is a ratio to.
  if (alone.aim && alone.aim->is == goal::kind::ratio) alone.aim.reset();
  alone.note = problems;
  s.report(std::move(alone));
}

}  // namespace hydrogen::bench
