#include <hydrogen/base/config_values.hpp>
#include <hydrogen/base/cpus.hpp>
#include <hydrogen/base/nearest.hpp>
#include <hydrogen/base/node_config.hpp>
#include <hydrogen/base/units.hpp>

#include <arpa/inet.h>
#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace hydrogen {
namespace {

using namespace config_values;

complaint take_roles(const toml::node& value, node_config& c) {
  const std::string expectation = "a list of one or both of \"coordinator\" and \"agent\"";
  const auto* list = value.as_array();
  if (list == nullptr || list->empty()) return expectation;
  bool coordinator = false, agent = false;
  for (const auto& item : *list) {
    const auto* text = item.as_string();
    if (text == nullptr) return expectation;
    const auto& role = text->get();
    auto* seen = role == "coordinator" ? &coordinator : role == "agent" ? &agent : nullptr;
    if (seen == nullptr || *seen) return expectation;
    *seen = true;
  }
  c.node.coordinator = coordinator;
  c.node.agent = agent;
  return {};
}

complaint take_gpus(const toml::node& value, std::uint32_t& into) {
  if (const auto* text = value.as_string(); text != nullptr && text->get() == "all") {
    into = node_config::agent_table::all_gpus;
    return {};
  }
  return take_number(value, 0, 64, into).empty() ? complaint() : "\"all\", or how many, from 0 to 64";
}

struct key {
  std::string_view table;
  std::string_view name;
  complaint (*take)(const toml::node&, node_config&);
};

constexpr std::uint64_t mebibyte = 1 << 20;

constexpr key keys[] = {
    {"node", "name", [](const toml::node& v, node_config& c) { return take_name(v, c.node.name); }},
    {"node", "roles", take_roles},
    {"node", "data_dir", [](const toml::node& v, node_config& c) { return take_text(v, c.node.data_dir); }},
    {"coordinator", "listen",
     [](const toml::node& v, node_config& c) { return take_endpoint(v, true, c.coordinator.listen); }},
    {"coordinator", "address",
     [](const toml::node& v, node_config& c) { return take_endpoint(v, false, c.coordinator.address); }},
    {"coordinator", "expected_nodes",
     [](const toml::node& v, node_config& c) { return take_number(v, 1, 10000, c.coordinator.expected_nodes); }},
    {"queue", "ageing", [](const toml::node& v, node_config& c) { return take_duration(v, 0s, 24h, c.queue.ageing); }},
    {"queue", "most_passes",
     [](const toml::node& v, node_config& c) { return take_number(v, 0, 1'000'000, c.queue.most_passes); }},
    {"queue", "evict", [](const toml::node& v, node_config& c) { return take_switch(v, c.queue.evict); }},
    {"queue", "application_slots",
     [](const toml::node& v, node_config& c) { return take_number(v, 0, 1'000'000, c.queue.application_slots); }},
    {"queue", "application_queued",
     [](const toml::node& v, node_config& c) { return take_number(v, 0, 1'000'000, c.queue.application_queued); }},
    {"agent", "slots", [](const toml::node& v, node_config& c) { return take_number(v, 0, 4096, c.agent.slots); }},
    {"agent", "memory", [](const toml::node& v, node_config& c) { return take_size(v, 0, c.agent.has.memory); }},
    {"agent", "devices", [](const toml::node& v, node_config& c) { return take_devices(v, c.agent.has.devices); }},
    {"agent", "gpus", [](const toml::node& v, node_config& c) { return take_gpus(v, c.agent.gpus); }},
    {"agent", "virtual_gpus",
     [](const toml::node& v, node_config& c) { return take_number(v, 0, 64, c.agent.virtual_gpus); }},
    {"agent", "virtual_gpu_memory",
     [](const toml::node& v, node_config& c) { return take_size(v, mebibyte, c.agent.virtual_gpu_memory); }},
    {"agent", "labels", [](const toml::node& v, node_config& c) { return take_labels(v, c.agent.labels); }},
    {"agent", "listen", [](const toml::node& v, node_config& c) { return take_endpoint(v, true, c.agent.listen); }},
    {"agent", "block_budget",
     [](const toml::node& v, node_config& c) { return take_size(v, mebibyte, c.agent.block_budget); }},
    {"agent", "start_timeout",
     [](const toml::node& v, node_config& c) { return take_duration(v, 1s, 1h, c.agent.start_timeout); }},
    {"agent", "join_timeout",
     [](const toml::node& v, node_config& c) { return take_duration(v, 1s, 1h, c.agent.join_timeout); }},
    {"agent", "tune", [](const toml::node& v, node_config& c) { return take_switch(v, c.agent.tune); }},
    {"cluster", "secret_file", [](const toml::node& v, node_config& c) { return take_text(v, c.cluster.secret_file); }},
    {"cluster", "heartbeat_interval",
     [](const toml::node& v, node_config& c) { return take_duration(v, 10ms, 60s, c.cluster.heartbeat_interval); }},
    {"cluster", "heartbeat_timeout",
     [](const toml::node& v, node_config& c) { return take_duration(v, 50ms, 1h, c.cluster.heartbeat_timeout); }},
    {"cluster", "membership_grace",
     [](const toml::node& v, node_config& c) { return take_duration(v, 0s, 1h, c.cluster.membership_grace); }},
    {"storage", "dir", [](const toml::node& v, node_config& c) { return take_text(v, c.storage.dir); }},
    {"log", "level", [](const toml::node& v, node_config& c) { return take_level(v, c.log.level); }},
};

std::vector<std::string> table_names() {
  std::vector<std::string> names;
  for (const auto& k : keys) {
    if (names.empty() || names.back() != k.table) names.emplace_back(k.table);
  }
  return names;
}

std::vector<std::string> key_names(std::string_view table) {
  std::vector<std::string> names;
  for (const auto& k : keys) {
    if (k.table == table) names.emplace_back(k.name);
  }
  return names;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// Reads one document and collects what is wrong with it, each with its line.
class reader {
 public:
  explicit reader(const std::string& path) : path_(path) {}

  node_config config;

  void read(const toml::table& document, const std::string& name) {
    const auto tables = table_names();
    for (const auto& [name, value] : document) {
      const std::string table(name.str());
      if (std::find(tables.begin(), tables.end(), table) == tables.end()) {
        unknown(fmt::format("table [{}]", table), line_of(name), table, tables, "tables are ");
      } else if (const auto* content = value.as_table()) {
        read_table(table, *content);
      } else {
        add(line_of(name), fmt::format("\"{}\" must be a table", table),
            fmt::format("write [{}] on a line of its own", table));
      }
    }
    check_together(document, name);
  }

  config_errors errors() {
    std::stable_sort(found_.begin(), found_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    config_errors list;
    for (auto& [line, e] : found_) list.push_back(std::move(e));
    return list;
  }

 private:
  static std::uint32_t line_of(const toml::key& k) { return k.source().begin.line; }

  void add(std::uint32_t line, std::string what, std::string hint) {
    auto where = line == 0 ? path_ : path_ + ":" + std::to_string(line);
    found_.emplace_back(line, error{errc::bad_input, std::move(what), std::move(where), std::move(hint)});
  }

  void unknown(const std::string& what, std::uint32_t line, std::string_view typed,
               const std::vector<std::string>& known, const std::string& all_are) {
    const auto near = nearest_name(typed, known);
    add(line, "unknown " + what, near ? "did you mean \"" + *near + "\"?" : all_are + joined(known));
  }

  void read_table(const std::string& table, const toml::table& content) {
    for (const auto& [name, value] : content) {
      const std::string typed(name.str());
      const auto* known = std::find_if(std::begin(keys), std::end(keys),
                                       [&](const key& k) { return k.table == table && k.name == typed; });
      if (known == std::end(keys)) {
        unknown(fmt::format("key \"{}\" in [{}]", typed, table), line_of(name), typed, key_names(table),
                fmt::format("keys of [{}] are ", table));
        continue;
      }
      const auto expected_value = known->take(value, config);
      if (!expected_value.empty()) {
        std::ostringstream shown;
        shown << toml::toml_formatter(value, toml::format_flags::none);
        add(line_of(name), fmt::format("{}.{} cannot be {}", table, typed, shown.str()), "expected " + expected_value);
      }
    }
  }

  /// What one value cannot show: defaults that hang on others, and values that must fit together.
  void check_together(const toml::table& document, const std::string& name) {
    if (!name.empty()) {
      if (!usable_name(name))
        add(0, fmt::format("the node cannot be called \"{}\"", name), fmt::format("expected {}", name_rule));
      config.node.name = name;
    }
    if (config.node.name.empty()) {
      char host[256] = {};
      config.node.name = ::gethostname(host, sizeof host - 1) == 0 && host[0] != 0 ? host : "node";
    }
    if (config.node.data_dir.empty()) config.node.data_dir = "data/" + config.node.name;
    if (config.node.coordinator && !document["coordinator"]["address"]) {
      config.coordinator.address = config.coordinator.listen;
    }
    if (!document["agent"]["memory"]) config.agent.has.memory = physical_memory();
    if (config.agent.slots == 0) config.agent.slots = usable_cpus();
    if (config.cluster.heartbeat_timeout < 2 * config.cluster.heartbeat_interval) {
      const auto* node = document["cluster"]["heartbeat_timeout"].node();
      if (node == nullptr) node = document["cluster"]["heartbeat_interval"].node();
      add(node != nullptr ? node->source().begin.line : 0,
          "cluster.heartbeat_timeout (" + format_duration(config.cluster.heartbeat_timeout) +
              ") is below twice cluster.heartbeat_interval (" + format_duration(config.cluster.heartbeat_interval) +
              ")",
          "one late heartbeat would end a node; six intervals are usual");
    }
    const bool some = config.agent.gpus != 0 && config.agent.gpus != node_config::agent_table::all_gpus;
    if (const auto* node = document["agent"]["gpus"].node(); some && config.agent.virtual_gpus != 0) {
      add(node->source().begin.line, "agent.gpus and agent.virtual_gpus are both given",
          "virtual ones take the place of those of the machine");
    }
    const auto folder = std::filesystem::path(path_).parent_path();
    for (auto* path : {&config.node.data_dir, &config.cluster.secret_file, &config.storage.dir}) {
      std::error_code ignored;
      const auto absolute = std::filesystem::absolute(folder / *path, ignored);
      if (!ignored) *path = absolute.lexically_normal().string();
    }
  }

  const std::string& path_;
  std::vector<std::pair<std::uint32_t, error>> found_;
};

}  // namespace

tl::expected<node_config, config_errors> parse_node_config(std::string_view text, const std::string& path,
                                                           const std::string& name) {
  const auto parsed = toml::parse(text, path);
  if (!parsed) {
    const auto& e = parsed.error();
    return tl::unexpected(config_errors{error{errc::bad_input, std::string(e.description()),
                                              path + ":" + std::to_string(e.source().begin.line),
                                              "the file must be TOML: [table] lines, then key = value lines"}});
  }
  reader r(path);
  r.read(parsed.table(), name);
  auto errors = r.errors();
  if (!errors.empty()) return tl::unexpected(std::move(errors));
  return std::move(r.config);
}

tl::expected<node_config, config_errors> load_node_config(const std::string& path, const std::string& name) {
  std::error_code code;
  if (std::filesystem::is_directory(path, code)) {
    return tl::unexpected(
        config_errors{error{errc::bad_input, "is a folder", path, "name the config file of the node itself"}});
  }
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file || file.bad()) {
    const auto e = fail_errno("cannot read the config file", path).value();
    return tl::unexpected(config_errors{
        error{errc::not_found, e.what, path, "the folder config/ of the project holds examples with every key"}});
  }
  return parse_node_config(text.str(), path, name);
}

std::vector<std::string> node_config_keys() {
  std::vector<std::string> names;
  for (const auto& k : keys) names.push_back(std::string(k.table) + "." + std::string(k.name));
  return names;
}

expected<host_port> parse_host_port(std::string_view text) {
  const auto wrong = [&] {
    return fail(errc::bad_input, fmt::format("\"{}\" is not HOST:PORT", text), {},
                "such as 127.0.0.1:7410 or [::1]:7410");
  };
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return wrong();
  auto host = text.substr(0, colon);
  const auto port = text.substr(colon + 1);
  if (host.front() == '[') {
    if (host.back() != ']' || host.size() < 3) return wrong();
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return wrong();
  }
  if (host.find_first_of(" \t/[]") != std::string_view::npos) return wrong();
  host_port result{std::string(host), 0};
  const auto [rest, code] = std::from_chars(port.data(), port.data() + port.size(), result.port);
  if (port.empty() || code != std::errc{} || rest != port.data() + port.size()) return wrong();
  return result;
}

bool is_loopback(std::string_view host) {
  const std::string text(host);
  if (text == "localhost") return true;
  in_addr v4{};
  if (::inet_pton(AF_INET, text.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  return ::inet_pton(AF_INET6, text.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

}  // namespace hydrogen
