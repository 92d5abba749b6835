#include <hydrogen/base/cpus.hpp>
#include <hydrogen/base/node_config.hpp>

#include <doctest/doctest.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

using namespace hydrogen;

namespace {

const std::filesystem::path config_folder = std::filesystem::path(__FILE__).parent_path() / "../../config";

node_config good(const std::string& text) {
  auto c = parse_node_config(text, "/etc/hydrogen/n.toml");
  if (!c) {
    for (const auto& e : c.error()) FAIL_CHECK(e.message());
    FAIL("the config was refused");
  }
  return *c;
}

config_errors bad(const std::string& text) {
  auto c = parse_node_config(text, "n.toml");
  REQUIRE_MESSAGE(!c, "accepted: ", text);
  REQUIRE(!c.error().empty());
  return c.error();
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path);
  REQUIRE(file.good());
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// The text with the lines that start with "#key = " in force as well.
std::string with_every_key(const std::string& text) {
  std::istringstream lines(text);
  std::string all;
  for (std::string line; std::getline(lines, line);) {
    const auto key = line.find(" = ");
    const bool hidden = line.starts_with('#') && key != std::string::npos &&
                        line.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", 1) == key;
    all += (hidden ? line.substr(1) : line) + "\n";
  }
  return all;
}

}  // namespace

TEST_CASE("an empty file is an all-in-one node with the documented defaults") {
  const auto c = good("");
  CHECK(!c.node.name.empty());
  CHECK(c.node.coordinator);
  CHECK(c.node.agent);
  CHECK(c.node.data_dir == "/etc/hydrogen/data/" + c.node.name);
  CHECK(c.coordinator.listen == "127.0.0.1:7410");
  CHECK(c.coordinator.address == c.coordinator.listen);
  CHECK(c.coordinator.expected_nodes == 1);
  CHECK(c.agent.slots == usable_cpus());
  CHECK(c.agent.block_budget == std::uint64_t{4} << 30);
  CHECK(c.agent.has.memory == physical_memory());
  CHECK(c.agent.has.devices.empty());
  CHECK(c.agent.labels.empty());
  CHECK(c.queue.ageing == 5min);
  CHECK(c.queue.most_passes == 1000);
  CHECK(c.queue.evict);
  CHECK(c.queue.application_slots == 0);
  CHECK(c.queue.application_queued == 0);
  CHECK(c.cluster.secret_file == "/etc/hydrogen/cluster.secret");
  CHECK(c.cluster.heartbeat_interval == 500ms);
  CHECK(c.cluster.heartbeat_timeout == 3s);
  CHECK(c.cluster.membership_grace == 10s);
  CHECK(c.storage.dir == "/etc/hydrogen/data/storage");
  CHECK(c.log.level == "info");
  CHECK(c.parent_fd == -1);
}

TEST_CASE("every key is read") {
  const auto c = good(R"([node]
name = "n-1.a_b"
roles = ["agent"]
data_dir = "/var/lib/h"
[coordinator]
listen = "[::1]:81"
address = "10.1.2.3:82"
expected_nodes = 3
[queue]
ageing = "1 h"
most_passes = 8
evict = false
application_slots = 9
application_queued = 10
[agent]
slots = 7
memory = "3 GiB"
devices = { fpga = 2, tpu = 0 }
virtual_gpus = 3
virtual_gpu_memory = "7 MiB"
labels = ["zone=a", "ssd"]
listen = "127.9.9.9:0"
block_budget = "64 MiB"
start_timeout = "5 s"
join_timeout = "6 s"
tune = false
[cluster]
secret_file = "keys/../s"
heartbeat_interval = "20 ms"
heartbeat_timeout = "0.1 s"
membership_grace = "0 s"
[storage]
dir = "../store"
[log]
level = "debug"
)");
  CHECK(c.node.name == "n-1.a_b");
  CHECK(!c.node.coordinator);
  CHECK(c.node.agent);
  CHECK(c.node.data_dir == "/var/lib/h");
  CHECK(c.coordinator.listen == "[::1]:81");
  CHECK(c.coordinator.address == "10.1.2.3:82");
  CHECK(c.coordinator.expected_nodes == 3);
  CHECK(c.agent.slots == 7);
  CHECK(c.agent.gpus == node_config::agent_table::all_gpus);
  CHECK(c.agent.virtual_gpus == 3);
  CHECK(c.agent.virtual_gpu_memory == 7 << 20);
  CHECK(c.agent.has == resources{std::uint64_t{3} << 30, {{"fpga", 2}, {"tpu", 0}}});
  CHECK(c.agent.labels == std::vector<std::string>{"zone=a", "ssd"});
  CHECK(c.queue.ageing == 1h);
  CHECK(c.queue.most_passes == 8);
  CHECK_FALSE(c.queue.evict);
  CHECK(c.queue.application_slots == 9);
  CHECK(c.queue.application_queued == 10);
  CHECK(c.agent.listen == "127.9.9.9:0");
  CHECK(c.agent.block_budget == 64U << 20);
  CHECK(c.agent.start_timeout == 5s);
  CHECK(c.agent.join_timeout == 6s);
  CHECK_FALSE(c.agent.tune);
  CHECK(c.cluster.secret_file == "/etc/hydrogen/s");
  CHECK(c.cluster.heartbeat_interval == 20ms);
  CHECK(c.cluster.heartbeat_timeout == 100ms);
  CHECK(c.cluster.membership_grace == 0s);
  CHECK(c.storage.dir == "/etc/store");
  CHECK(c.log.level == "debug");
  CHECK(good("[log]\nlevel = \"warn\"\n").log.level == "warning");
}

TEST_CASE("all errors are reported at once, in the order of the file, with line, expectation and nearest name") {
  const auto errors =
      bad("[node]\nnmae = \"x\"\nroles = [\"worker\"]\n\n[clutser]\n[agent]\nslots = \"many\"\nblock_budget = 4096\n"
          "[log]\nlevel = \"loud\"\n");
  REQUIRE(errors.size() == 6);
  CHECK(errors[0].where == "n.toml:2");
  CHECK(errors[0].what == "unknown key \"nmae\" in [node]");
  CHECK(errors[0].hint == "did you mean \"name\"?");
  CHECK(errors[1].where == "n.toml:3");
  CHECK(errors[1].hint.find("\"coordinator\" and \"agent\"") != std::string::npos);
  CHECK(errors[2].where == "n.toml:5");
  CHECK(errors[2].hint == "did you mean \"cluster\"?");
  CHECK(errors[3].where == "n.toml:7");
  CHECK(errors[3].what == "agent.slots cannot be \"many\"");
  CHECK(errors[3].hint == "expected a whole number from 0 to 4096");
  CHECK(errors[4].where == "n.toml:8");
  CHECK(errors[4].hint.find("size such as") != std::string::npos);
  CHECK(errors[5].where == "n.toml:10");
  CHECK(errors[5].hint.find("\"trace\"") != std::string::npos);
}

TEST_CASE("a bad value of any key is refused, and the error names the key") {
  const std::pair<const char*, const char*> cases[] = {
      {"node", "name = \"\""},
      {"node", "name = \"a/b\""},
      {"node", "name = \"..\""},
      {"node", "name = 3"},
      {"node", "roles = []"},
      {"node", "roles = \"agent\""},
      {"node", "roles = [\"agent\", \"agent\"]"},
      {"node", "roles = [1]"},
      {"node", "data_dir = \"\""},
      {"coordinator", "listen = \"127.0.0.1\""},
      {"coordinator", "listen = \"127.0.0.1:65536\""},
      {"coordinator", "listen = \"127.0.0.1:\""},
      {"coordinator", "listen = \":80\""},
      {"coordinator", "listen = 7410"},
      {"coordinator", "address = \"127.0.0.1:0\""},
      {"coordinator", "address = \"head.example:7410\""},  // names are not looked up
      {"coordinator", "expected_nodes = 0"},
      {"queue", "ageing = 5"},
      {"queue", "evict = \"no\""},
      {"queue", "application_slots = -1"},
      {"agent", "memory = 5"},
      {"agent", "devices = [\"gpu\"]"},
      {"agent", "devices = { fpga = \"2\" }"},
      {"agent", "devices = { gpu = 2 }"},
      {"agent", "gpus = \"some\""},
      {"agent", "gpus = -1"},
      {"agent", "gpus = 2\nvirtual_gpus = 2"},
      {"agent", "virtual_gpus = 65"},
      {"agent", "virtual_gpu_memory = \"1 B\""},
      {"agent", "devices = { \"a b\" = 2 }"},
      {"agent", "labels = \"ssd\""},
      {"agent", "labels = [\"\"]"},
      {"agent", "labels = [\"a b\"]"},
      {"coordinator", "expected_nodes = -1"},
      {"agent", "slots = -1"},
      {"agent", "slots = 1.5"},
      {"agent", "slots = 99999999999"},
      {"agent", "block_budget = \"1 KiB\""},
      {"agent", "block_budget = \"-1 GiB\""},
      {"agent", "block_budget = \"1 GIB\""},
      {"agent", "block_budget = \"nan GiB\""},
      {"agent", "block_budget = \"99999999999 TiB\""},
      {"agent", "start_timeout = 60"},
      {"agent", "start_timeout = \"60\""},
      {"agent", "join_timeout = \"2 h\""},
      {"agent", "tune = 1"},
      {"cluster", "secret_file = false"},
      {"cluster", "heartbeat_interval = \"1 ms\""},
      {"cluster", "heartbeat_timeout = \"900 ms\""},  // below twice the interval
      {"cluster", "membership_grace = \"-1 s\""},
      {"storage", "dir = 1"},
      {"log", "level = \"\""},
  };
  for (const auto& [table, line] : cases) {
    const auto errors = bad(fmt::format("[{}]\n{}\n", table, line));
    CAPTURE(line);
    CHECK(errors.size() == 1);
    CHECK(errors[0].where == "n.toml:2");
    CHECK(errors[0].what.find(std::string(line).substr(0, std::string(line).find(' '))) != std::string::npos);
    CHECK(!errors[0].hint.empty());
  }
}

TEST_CASE("listening outside loopback is refused with the reason") {
  for (const auto* address : {"0.0.0.0:7410", "10.0.0.1:7410", "[::]:7410"}) {
    const auto errors = bad(fmt::format("[coordinator]\nlisten = \"{}\"\n", address));
    CHECK(errors[0].hint.find("not encrypted yet") != std::string::npos);
  }
}

TEST_CASE("a name from outside replaces the one of the file, and names the default data folder") {
  const auto c = parse_node_config("[node]\nname = \"a\"\n", "/etc/n.toml", "w-2");
  REQUIRE(c);
  CHECK(c->node.name == "w-2");
  CHECK(c->node.data_dir == "/etc/data/w-2");
  const auto refused = parse_node_config("", "/etc/n.toml", "../w");
  REQUIRE(!refused);
  CHECK(refused.error()[0].what == "the node cannot be called \"../w\"");
}

TEST_CASE("broken TOML is one error with its line") {
  const auto errors = bad("[node]\nname = \"a\"\nroles = [\n");
  CHECK(errors.size() == 1);
  CHECK(errors[0].where.starts_with("n.toml:"));
  CHECK(bad("[node]\nname = \"a\"\nname = \"b\"\n")[0].where == "n.toml:3");
  CHECK(bad("node = 3\n")[0].what.find("must be a table") != std::string::npos);
  CHECK(bad("name = \"x\"\n")[0].what == "unknown table [name]");
}

TEST_CASE("a missing file and a folder are errors that name them") {
  auto c = load_node_config("/nonexistent/n.toml");
  REQUIRE(!c);
  CHECK(c.error()[0].code == errc::not_found);
  CHECK(c.error()[0].message().find("/nonexistent/n.toml") != std::string::npos);
  CHECK(c.error()[0].message().find("No such file") != std::string::npos);
  c = load_node_config("/tmp");
  REQUIRE(!c);
  CHECK(c.error()[0].what == "is a folder");
}

TEST_CASE("each config file that is shipped is good, and shows every key with a value that is good too") {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(config_folder)) {
    if (entry.path().extension() != ".toml") continue;
    ++files;
    const auto path = entry.path().string();
    CAPTURE(path);
    auto c = load_node_config(path);
    if (!c) {
      for (const auto& e : c.error()) FAIL_CHECK(e.message());
      continue;
    }
    // With the keys that are commented out in force as well.
    const auto all = with_every_key(read(entry.path()));
    auto whole = parse_node_config(all, path);
    if (!whole) {
      for (const auto& e : whole.error()) FAIL_CHECK(e.message());
    }
    for (const auto& key : node_config_keys()) {
      const auto dot = key.find('.');
      const auto table = all.find(fmt::format("\n[{}]", key.substr(0, dot)));
      REQUIRE(table != std::string::npos);
      const auto end = std::min(all.find("\n[", table + 1), all.size());
      const auto section = all.substr(table, end - table);
      CHECK_MESSAGE(section.find(fmt::format("\n{} = ", key.substr(dot + 1))) != std::string::npos, key,
                    " is not shown");
    }
  }
  CHECK(files == 3);
}

TEST_CASE("the roles of the shipped files are what their names say") {
  const auto coordinator = load_node_config((config_folder / "coordinator.toml").string());
  const auto worker = load_node_config((config_folder / "worker.toml").string());
  const auto both = load_node_config((config_folder / "all-in-one.toml").string());
  REQUIRE(coordinator);
  REQUIRE(worker);
  REQUIRE(both);
  CHECK((coordinator->node.coordinator && !coordinator->node.agent));
  CHECK((!worker->node.coordinator && worker->node.agent));
  CHECK((both->node.coordinator && both->node.agent));
  CHECK(worker->coordinator.address == coordinator->coordinator.listen);
  CHECK(worker->cluster.secret_file == coordinator->cluster.secret_file);
  CHECK(worker->storage.dir == coordinator->storage.dir);
}

TEST_CASE("host and port are taken apart strictly") {
  CHECK(parse_host_port("localhost:80")->host == "localhost");
  CHECK(parse_host_port("[::1]:80")->host == "::1");
  CHECK(parse_host_port("a:65535")->port == 65535);
  for (const auto* text : {"", "a", ":1", "a:", "a:b", "a:-1", "a:1x", "::1:80", "[]:80", "[::1:80", "a b:80"}) {
    CAPTURE(text);
    CHECK(!parse_host_port(text));
  }
  CHECK(is_loopback("127.255.0.1"));
  CHECK(is_loopback("::1"));
  CHECK(!is_loopback("128.0.0.1"));
  CHECK(!is_loopback("127.0.0.1.example.org"));
}
