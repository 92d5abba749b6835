#pragma once
// A text file cut into byte ranges, one per partition. The driver cuts; each task reads the lines that *start* in its
// range. How a file is cut depends on its size and the arguments only, never on the machine.

#include <hydrogen/base/bytes.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace hydrogen::data {

/// What one task reads: the records that start in [begin, end). With `exact`, both ends are known starts of records.
struct file_part {
  std::string path;        // absolute
  std::uint64_t size = 0;  // of the whole file, when it was cut
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool exact = false;
  bool operator==(const file_part&) const = default;
  template <class I>
  friend auto inspect(I& f, file_part& x) {
    return f(x.path, x.size, x.begin, x.end, x.exact);
  }
};

inline constexpr std::uint64_t least_part_bytes = 8 << 20;
inline constexpr std::uint64_t most_part_bytes = 32 << 20;

/// Cuts the file into `partitions` ranges of about equal size; 0: by size, 8 to 32 MiB each, about 16 of them. At least
/// one, also for an empty file. With `quoted`, ranges start where records start that may hold line ends between double
/// quotes: the file is read once to find them, unless there is only one range.
expected<std::vector<file_part>> cut_file(const std::string& path, std::uint32_t partitions = 0, bool quoted = false);

}  // namespace hydrogen::data
