#pragma once
// Sizes and durations as people write and read them: "64 MiB", "500 ms". A number alone is refused where a unit
// matters, so nobody has to know what a bare 500 means. Any thread.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/error.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace hydrogen {

/// "0 B", "1536 B", "64 KiB", "1.5 GiB": a number and one of B, KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB
/// (powers of 1024); the space is optional. Bytes.
expected<std::uint64_t> parse_size(std::string_view text);

/// "250 us", "500 ms", "1.5 s", "2 min", "1 h"; the space is optional. Never negative.
expected<duration> parse_duration(std::string_view text);

/// Short forms that the functions above read back to about three digits: "64 MiB", "1.5 GiB"; "500 ms", "2.25 s".
std::string format_size(std::uint64_t bytes);
std::string format_duration(duration);

}  // namespace hydrogen
