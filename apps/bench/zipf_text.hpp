#pragma once
// Text whose words are distributed as in real text: the k-th most frequent word occurs proportionally to k^-exponent.

#include <hydrogen/base/error.hpp>

#include <cstdint>
#include <string>

namespace hydrogen::bench {

/// Writes `words` words from a dictionary of `dictionary` random lower-case words of 2 to 9 letters, 11 in a line. The
/// tail of the distribution beyond the dictionary falls on its last word. The same seed gives the same file.
expected<void> write_zipf_text(const std::string& path, std::uint64_t words, std::uint32_t dictionary, double exponent,
                               std::uint64_t seed);

}  // namespace hydrogen::bench
