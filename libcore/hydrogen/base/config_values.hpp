#pragma once
// Values of the config file: each is checked and taken, or what was expected is said. Private to node_config.cpp.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/resources.hpp>

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_UNRELEASED_FEATURES 0
#include <toml++/toml.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hydrogen::config_values {

/// What was expected, when a value cannot be used; empty when it was taken.
using complaint = std::string;

constexpr std::string_view name_rule = "a name of 1 to 64 letters, digits, '.', '_' or '-', not starting with '.'";
bool usable_name(std::string_view);

/// Not empty.
complaint take_text(const toml::node& value, std::string& into);
complaint take_number(const toml::node& value, std::uint32_t low, std::uint32_t high, std::uint32_t& into);
complaint take_duration(const toml::node& value, duration low, duration high, duration& into);
/// Bytes.
complaint take_size(const toml::node& value, std::uint64_t low, std::uint64_t& into);
complaint take_switch(const toml::node& value, bool& into);
/// "host:port"; one to listen on is on loopback, and may have port 0.
complaint take_endpoint(const toml::node& value, bool listens, std::string& into);
complaint take_name(const toml::node& value, std::string& into);
/// A table of kinds and counts.
complaint take_devices(const toml::node& value, std::vector<device_count>& into);
/// Without spaces and commas, so that they can be listed.
complaint take_labels(const toml::node& value, std::vector<std::string>& into);
complaint take_level(const toml::node& value, std::string& into);

}  // namespace hydrogen::config_values
