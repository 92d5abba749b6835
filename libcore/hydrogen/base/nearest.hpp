#pragma once
// "Did you mean": the known name that is closest to what somebody typed. Any thread.

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace hydrogen {

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal string alignment).
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The nearest of `known`, if it is near enough to be what was meant: at most a third of its letters differ (at least
/// one may). Of equally near names the first.
std::optional<std::string> nearest_name(std::string_view typed, std::span<const std::string> known);

}  // namespace hydrogen
