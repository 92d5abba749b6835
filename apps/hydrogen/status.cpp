// hydrogen status: who is a member, who holds which slot, and why each waiting request waits.

#include <hydrogen/actors/runtime.hpp>

#include "cli.hpp"
#include <nlohmann/json.hpp>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <iostream>

namespace hydrogen::program {
namespace {

using nlohmann::ordered_json;

/// Columns as wide as their widest cell; the last one is not padded.
class table {
 public:
  explicit table(std::vector<std::string> head) { add(std::move(head)); }
  void add(std::vector<std::string> row) {
    widths_.resize(std::max(widths_.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths_[i] = std::max(widths_[i], row[i].size());
    rows_.push_back(std::move(row));
  }
  std::string text() const {
    std::string out;
    for (const auto& row : rows_) {
      std::string line;
      for (std::size_t i = 0; i < row.size(); ++i) {
        line += i + 1 < row.size() ? fmt::format("{:<{}}", row[i], widths_[i] + 2) : row[i];
      }
      line.erase(line.find_last_not_of(' ') + 1);
      out += line + "\n";
    }
    return out;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::size_t> widths_;
};

/// "1 of 2 gpu": free ones.
std::string devices_of(const gang::node_status& n) {
  std::string text;
  for (const auto& d : n.devices)
    text += fmt::format("{}{} of {} {}", text.empty() ? "" : ", ", d.free, d.count, d.kind);
  return text.empty() ? "-" : text;
}

std::string holder(const gang::holder_status& h) {
  auto text = fmt::format("{} x {}", h.slots, h.request);
  for (const auto& d : h.devices) text += fmt::format(", {} {}", d.count, d.kind);
  return text;
}

std::string slots_of(const gang::request_status& r) {
  return r.least == r.most ? fmt::format("{} of {}", r.held, r.most)
                           : fmt::format("{} of {}..{}", r.held, r.least, r.most);
}

void print(const std::string& cluster, const gang::cluster_status& s) {
  std::uint32_t slots = 0, free = 0;
  for (const auto& n : s.nodes) slots += n.slots, free += n.free;
  std::cout << fmt::format("cluster {}, term {}: {} nodes, {} slots, {} free; {} runs, {} requests\n", cluster,
                           s.term.value, s.nodes.size(), slots, free, s.runs.size(), s.requests.size());
  if (!s.nodes.empty()) {
    table nodes({"NODE", "STATE", "SLOTS", "FREE", "FREE DEVICES", "EXECUTORS", "HELD BY"});
    for (const auto& n : s.nodes) {
      nodes.add({n.name, n.state, std::to_string(n.slots), std::to_string(n.free), devices_of(n),
                 std::to_string(n.executors), n.held.empty() ? "-" : holder(n.held[0])});
      for (std::size_t i = 1; i < n.held.size(); ++i) nodes.add({"", "", "", "", "", "", holder(n.held[i])});
    }
    std::cout << "\n" << nodes.text();
  }
  if (!s.runs.empty()) {
    table runs({"RUN", "APPLICATION", "STATE", "REQUESTS"});
    for (const auto& r : s.runs) {
      runs.add({to_string(r.run).substr(0, 8), r.application, r.state, std::to_string(r.requests)});
    }
    std::cout << "\n" << runs.text();
  }
  if (!s.requests.empty()) {
    table requests({"REQUEST", "KIND", "STATE", "SLOTS", "MEETS IN", "WHAT", "WAITS BECAUSE"});
    for (const auto& r : s.requests) {
      requests.add({to_string(r.id), r.kind, r.state, slots_of(r), r.meets.empty() ? "-" : r.meets, r.label,
                    r.reason.empty() ? "-" : r.reason});
    }
    std::cout << "\n" << requests.text();
  }
}

ordered_json json_of(const gang::cluster_status& s) {
  ordered_json out{{"term", s.term.value},
                   {"nodes", ordered_json::array()},
                   {"runs", ordered_json::array()},
                   {"requests", ordered_json::array()}};
  for (const auto& n : s.nodes) {
    ordered_json node{{"name", n.name},
                      {"boot", to_string(n.boot)},
                      {"state", n.state},
                      {"slots", n.slots},
                      {"free", n.free},
                      {"executors", n.executors},
                      {"devices", ordered_json::array()},
                      {"held", ordered_json::array()}};
    for (const auto& d : n.devices) node["devices"].push_back({{"kind", d.kind}, {"count", d.count}, {"free", d.free}});
    for (const auto& h : n.held) {
      ordered_json held{{"request", h.request}, {"attempt", h.attempt}, {"slots", h.slots}};
      for (const auto& d : h.devices) held["devices"][d.kind] = d.count;
      node["held"].push_back(std::move(held));
    }
    out["nodes"].push_back(std::move(node));
  }
  for (const auto& r : s.runs) {
    out["runs"].push_back({{"run", to_string(r.run)},
                           {"application", r.application},
                           {"driver", r.driver},
                           {"state", r.state},
                           {"requests", r.requests}});
  }
  for (const auto& r : s.requests) {
    out["requests"].push_back({{"id", to_string(r.id)},
                               {"label", r.label},
                               {"kind", r.kind},
                               {"state", r.state},
                               {"meets_in", r.meets},
                               {"least", r.least},
                               {"most", r.most},
                               {"held", r.held},
                               {"place", r.place},
                               {"attempt", r.attempt},
                               {"reason", r.reason}});
  }
  return out;
}

}  // namespace

int status(arguments args) {
  command_line line("hydrogen status", "Show the nodes, runs and requests of a cluster, and why each request waits",
                    "hydrogen status --cluster HOST:PORT [OPTIONS]");
  bool json = false;
  question ask;
  line.toggle("--json", json, "Print JSON instead of tables");
  ask.describe(line);
  if (const auto code = read(line, std::move(args))) return *code;
  if (const auto code = ask.check(line)) return *code;
  const auto snapshot = actors::fetch_status(ask.cluster, ask.secret_file, ask.limit());
  if (!snapshot) return report(line.name(), snapshot.error());
  if (json) {
    std::cout << json_of(*snapshot).dump(2) << "\n";
  } else {
    print(ask.cluster, *snapshot);
  }
  return exit_done;
}

}  // namespace hydrogen::program
