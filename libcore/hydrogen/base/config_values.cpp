#include <hydrogen/base/config_values.hpp>
#include <hydrogen/base/node_config.hpp>
#include <hydrogen/base/units.hpp>

#include <arpa/inet.h>

#include <algorithm>

namespace hydrogen::config_values {

complaint take_text(const toml::node& value, std::string& into) {
  const auto* text = value.as_string();
  if (text == nullptr) return "a string";
  if (text->get().empty()) return "a string that is not empty";
  into = text->get();
  return {};
}

complaint take_number(const toml::node& value, std::uint32_t low, std::uint32_t high, std::uint32_t& into) {
  const auto expectation = "a whole number from " + std::to_string(low) + " to " + std::to_string(high);
  const auto* number = value.as_integer();
  if (number == nullptr || number->get() < low || number->get() > high) return expectation;
  into = static_cast<std::uint32_t>(number->get());
  return {};
}

complaint take_duration(const toml::node& value, duration low, duration high, duration& into) {
  const auto expectation = "a duration from \"" + format_duration(low) + "\" to \"" + format_duration(high) + "\"";
  const auto* text = value.as_string();
  if (text == nullptr) return expectation;
  const auto parsed = parse_duration(text->get());
  if (!parsed || *parsed < low || *parsed > high) return expectation;
  into = *parsed;
  return {};
}

complaint take_size(const toml::node& value, std::uint64_t low, std::uint64_t& into) {
  const auto expectation = "a size such as \"256 MiB\", at least \"" + format_size(low) + "\"";
  const auto* text = value.as_string();
  if (text == nullptr) return expectation;
  const auto parsed = parse_size(text->get());
  if (!parsed || *parsed < low) return expectation;
  into = *parsed;
  return {};
}

complaint take_switch(const toml::node& value, bool& into) {
  const auto* on = value.as_boolean();
  if (on == nullptr) return "true or false";
  into = on->get();
  return {};
}

namespace {

bool is_address(const std::string& host) {
  in6_addr room{};
  return host == "localhost" || ::inet_pton(AF_INET, host.c_str(), &room) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &room) == 1;
}

}  // namespace

complaint take_endpoint(const toml::node& value, bool listens, std::string& into) {
  const auto* text = value.as_string();
  if (text == nullptr) return "a string \"host:port\"";
  const auto parsed = parse_host_port(text->get());
  if (!parsed) return "\"host:port\", such as \"127.0.0.1:7410\"";
  if (!listens && parsed->port == 0) return "\"host:port\" with a port from 1 to 65535";
  if (!is_address(parsed->host)) return "an address in numbers, or localhost: host names are not looked up";
  if (listens && !is_loopback(parsed->host)) {
    return "a loopback address such as \"127.0.0.1:7410\": connections are not encrypted yet, so listening on other "
           "addresses is refused";
  }
  into = text->get();
  return {};
}

bool usable_name(std::string_view name) {
  const auto good = [](char ch) {
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || ch == '.' || ch == '_' ||
           ch == '-';
  };
  return !name.empty() && name.size() <= 64 && name.front() != '.' && std::all_of(name.begin(), name.end(), good);
}

complaint take_name(const toml::node& value, std::string& into) {
  const auto* text = value.as_string();
  if (text == nullptr || !usable_name(text->get())) return std::string(name_rule);
  into = text->get();
  return {};
}

complaint take_devices(const toml::node& value, std::vector<device_count>& into) {
  const std::string expectation = "a table of kinds and counts, such as { fpga = 2 }";
  const auto* table = value.as_table();
  if (table == nullptr) return expectation;
  std::vector<device_count> devices;
  for (const auto& [kind, count] : *table) {
    device_count d{std::string(kind.str()), 0};
    if (!usable_name(d.kind)) return expectation + "; a kind is " + std::string(name_rule);
    if (d.kind == "gpu") return expectation + "; GPUs are found, and limited by agent.gpus";
    if (!take_number(count, 0, 4096, d.count).empty()) return expectation + "; a count is a number from 0 to 4096";
    devices.push_back(std::move(d));
  }
  into = std::move(devices);
  return {};
}

complaint take_labels(const toml::node& value, std::vector<std::string>& into) {
  const std::string expectation =
      "a list of labels of 1 to 128 characters without spaces, such as [\"zone=a\", \"ssd\"]";
  const auto* list = value.as_array();
  if (list == nullptr) return expectation;
  std::vector<std::string> labels;
  for (const auto& item : *list) {
    const auto* text = item.as_string();
    if (text == nullptr || text->get().empty() || text->get().size() > 128 ||
        text->get().find_first_of(" \t\r\n,") != std::string::npos) {
      return expectation;
    }
    labels.push_back(text->get());
  }
  into = std::move(labels);
  return {};
}

complaint take_level(const toml::node& value, std::string& into) {
  constexpr std::string_view levels[] = {"trace", "debug", "info", "warning", "error", "off"};
  const auto* text = value.as_string();
  const std::string_view level = text == nullptr         ? ""
                                 : text->get() == "warn" ? "warning"
                                                         : std::string_view(text->get());
  if (std::find(std::begin(levels), std::end(levels), level) == std::end(levels)) {
    return "one of \"trace\", \"debug\", \"info\", \"warning\", \"error\", \"off\"";
  }
  into = level;
  return {};
}

}  // namespace hydrogen::config_values
