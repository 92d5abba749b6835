#pragma once
// The table by which algorithms of equal bits are picked. Measured on a machine once (tuner.hpp), and kept in a file of
// the user's cache directory that is named after the machine. One table holds for a gang: that of the process which
// makes its area, or of rank 0 where there are links, so all ranks pick alike. A wrong or old table is slow, never
// wrong. Plain values; any thread.

#include <hydrogen/base/error.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <type_traits>

namespace hydrogen::comm {

/// All in bytes.
struct tuning {
  static constexpr std::uint64_t never = std::uint64_t{1} << 62;

  /// Over links, of 2 or 3, 4 to 7, and more members: an all-reduce of so many bytes over all members together is made
  /// in one shot.
  std::array<std::uint64_t, 3> one_shot{512 << 10, 512 << 10, 512 << 10};
  /// Private memory of two processes of a host is read by the kernel rather than staged: from so many bytes what is
  /// added up, and what goes from one to the other; up to so many of each what goes both ways.
  std::uint64_t reduce_by_reading = never;
  std::uint64_t pass_by_reading = never;
  std::uint64_t exchange_by_reading = 0;
  /// A bucket of gradients, unless its user says another size.
  std::uint64_t bucket = 1 << 20;

  bool operator==(const tuning&) const = default;

  /// No more than 64 MiB, whatever the table says: each member needs that much memory for one shot.
  std::uint64_t one_shot_of(std::uint32_t members) const {
    constexpr std::uint64_t most = 64 << 20;
    return std::min(one_shot[members < 4 ? 0 : members < 8 ? 1 : 2], most);
  }
};
// It travels as it is.
static_assert(std::is_trivially_copyable_v<tuning> && sizeof(tuning) == 56);

/// This machine in words: processor, how many CPUs this process may use, kernel.
std::string machine_in_words();
/// Where its table is kept: $XDG_CACHE_HOME/hydrogen or ~/.cache/hydrogen. errc::not_found: neither variable is set.
expected<std::string> tuning_file();

/// errc::not_found: no such file; bad_input: what is wrong with it, or it is of another machine.
expected<tuning> read_tuning(const std::string& path);
/// Makes the folder, and replaces the file as a whole. errc::io.
expected<void> write_tuning(const std::string& path, const tuning&);

/// What the file says, or what is built in. Says so in the log if the file cannot be used.
tuning tuning_of_machine();

}  // namespace hydrogen::comm
