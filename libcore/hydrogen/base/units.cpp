#include <hydrogen/base/units.hpp>

#include <spdlog/fmt/fmt.h>

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <span>
#include <utility>

namespace hydrogen {
namespace {

struct unit {
  std::string_view name;
  double factor;
};

constexpr std::array size_units{unit{"B", 1},           unit{"KB", 1e3},           unit{"MB", 1e6},
                                unit{"GB", 1e9},        unit{"TB", 1e12},          unit{"KiB", 1024.0},
                                unit{"MiB", 1048576.0}, unit{"GiB", 1073741824.0}, unit{"TiB", 1099511627776.0}};
constexpr std::array duration_units{unit{"ns", 1},  unit{"us", 1e3},   unit{"ms", 1e6},
                                    unit{"s", 1e9}, unit{"min", 6e10}, unit{"h", 3.6e12}};

/// The value in the base unit; a result of 2^63 or more does not fit where it goes.
expected<double> parse(std::string_view text, std::span<const unit> units, std::string_view kind,
                       std::string_view example) {
  const auto wrong = [&] {
    return fail(errc::bad_input, fmt::format("\"{}\" is not a {}", text, kind), {},
                fmt::format("write a number and a unit, such as {}", example));
  };
  double number = 0;
  const auto [rest, code] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (code != std::errc{} || !std::isfinite(number) || std::signbit(number)) return wrong();
  std::string_view name(rest, static_cast<std::size_t>(text.data() + text.size() - rest));
  while (!name.empty() && name.front() == ' ') name.remove_prefix(1);
  for (const auto& u : units) {
    if (u.name != name) continue;
    const double value = number * u.factor;
    if (value >= 0x1.0p63) return wrong();
    return value;
  }
  return wrong();
}

std::string format(double value, std::string_view unit_name) {
  char buffer[64];
  // Three significant digits, and whole numbers as they are: "1023 B", not "1.02e+03 B".
  const bool whole = value >= 100 || value == std::floor(value);
  std::snprintf(buffer, sizeof buffer, whole ? "%.0f" : "%.3g", value);
  return std::string(buffer) + " " + std::string(unit_name);
}

}  // namespace

expected<std::uint64_t> parse_size(std::string_view text) {
  auto value = parse(text, size_units, "size", "\"64 MiB\"");
  if (!value) return unexpected(std::move(value.error()));
  return static_cast<std::uint64_t>(*value);
}

expected<duration> parse_duration(std::string_view text) {
  auto value = parse(text, duration_units, "duration", "\"500 ms\"");
  if (!value) return unexpected(std::move(value.error()));
  return duration(static_cast<std::int64_t>(*value));
}

std::string format_size(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 5> names{"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t i = 0;
  while (value >= 1024 && i + 1 < names.size()) value /= 1024, ++i;
  return format(value, names[i]);
}

std::string format_duration(duration d) {
  const double ns = static_cast<double>(d.count());
  if (ns < 1e3) return format(ns, "ns");
  if (ns < 1e6) return format(ns / 1e3, "us");
  if (ns < 1e9) return format(ns / 1e6, "ms");
  if (ns < 120e9) return format(ns / 1e9, "s");
  if (ns < 7200e9) return format(ns / 60e9, "min");
  return format(ns / 3600e9, "h");
}

}  // namespace hydrogen
