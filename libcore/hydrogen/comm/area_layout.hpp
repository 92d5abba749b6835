#pragma once
// How a gang area lies in memory, which other processes may have mapped; nobody but the area includes this.

#include <hydrogen/comm/area.hpp>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hydrogen::comm {

/// A call as it lies in the area: its own copy of the file name, since static memory of one process is nothing in
/// another.
struct area::publication {
  operation what;
  element kind;
  reduction how;
  offer::place is;
  bool parted;
  algorithm by;
  std::uint32_t root;
  std::uint32_t to;
  std::uint32_t line;
  std::uint64_t count;
  std::uint64_t hash;
  std::uint64_t size;
  std::uint64_t data;  // an address, or the offset of a gang buffer
  std::uint64_t aside;
  char file[64];

  void set(const call_plan& plan, const offer& o, const std::byte* base) {
    size = o.data.size();
    is = o.is;
    parted = o.parted;
    data = is == offer::place::gang_buffer ? static_cast<std::uint64_t>(o.data.data() - base)
                                           : reinterpret_cast<std::uint64_t>(o.data.data());
    aside = reinterpret_cast<std::uint64_t>(o.aside);
    if (hash == plan.hash && line == plan.line) return;  // the usual loop: the same call as the time before the last
    what = plan.what;
    kind = plan.kind;
    how = plan.how;
    by = plan.by;
    root = plan.root;
    to = plan.to;
    line = plan.line;
    count = plan.count;
    hash = plan.hash;
    const auto length = std::min(std::strlen(plan.file), sizeof file - 1);
    std::memcpy(file, plan.file, length);
    file[length] = 0;
  }
  std::string text(std::span<const std::uint32_t> among) const {
    char name[sizeof file];
    std::memcpy(name, file, sizeof file);
    name[sizeof file - 1] = 0;
    call_plan plan;
    plan.what = what;
    plan.kind = kind;
    plan.how = how;
    plan.by = by;
    plan.root = root;
    plan.to = to;
    plan.count = count;
    plan.file = name;
    plan.line = line;
    return plan.text(among);
  }
};

struct area::header {
  std::uint64_t magic;
  std::uint32_t ranks;
  tuning table;
  alignas(128) std::atomic<std::uint64_t> arrived;
  alignas(128) std::atomic<std::uint32_t> news;  // futex: completion, gate, break, leave, death, abort
  std::atomic<std::uint32_t> sleepers;           // one that was killed counts on: it costs a system call
  std::atomic<std::uint32_t> open;               // the gate
  std::atomic<std::uint32_t> staged;             // stages have been written
  std::atomic<std::uint32_t> parts;              // 1: a rank has stood on the board
};

struct alignas(128) area::seat {
  enum presence : std::uint32_t { here, left, dead };
  // Written by the rank, read by all after they have seen `entered` or the completed barrier. Two, since a rank can be
  // one call ahead of readers.
  publication said[2];
  std::atomic<std::uint64_t> entered;   // calls
  std::atomic<std::uint32_t> is;        // presence
  std::atomic<std::uint32_t> cpu;       // that it was on when it came to its last call
  std::atomic<std::uint64_t> barriers;  // that the rank has come to; of calls, and within them
  std::atomic<std::int64_t> heard;      // when it came to the last one: of the clock of the host, coarse
  // Of the whole: for whom the rank has waited for long (`mark`).
  std::atomic<std::uint64_t> awaited;     // 0: nobody
  std::atomic<std::uint64_t> waits_in;    // the group
  std::atomic<std::int64_t> waits_since;  // of the clock of the host
  // How others find out whether they can read this rank's memory.
  std::int32_t process;
  std::uint64_t probe;  // address
  std::uint64_t probe_value;
  std::uint32_t reads_all;
  std::uint32_t reason_size;  // why this rank broke the area, encoded
  std::byte reason[1024];
};

/// So many parts of a rank have their number of calls on the board; then the oldest falls off.
inline constexpr std::size_t listed_parts = 32;

/// The board: words of a rank, then pairs of part and calls, then the group as bits. Written between two steps of
/// `sequence`. `entries`: parts that were ever listed; `entry`: the current one.
enum board_word : std::size_t {
  sequence,
  group,
  calls,
  kinds,
  line,
  roots,
  count,
  entries,
  entry,
  file,
  listed = file + 8,
  members = listed + 2 * listed_parts
};
constexpr std::size_t board_size(std::size_t ranks) {
  return (8 * (members + (ranks + 63) / 64) + 127) / 128 * 128;
}

/// A copy of what a rank has said on the board; zeros at first.
class area::standing {
 public:
  standing() = default;
  explicit standing(std::vector<std::uint64_t> words) : words_(std::move(words)) {}
  /// Not while it is being written.
  explicit operator bool() const { return !words_.empty(); }
  std::uint64_t group() const { return words_[board_word::group]; }
  std::uint64_t calls() const { return words_[board_word::calls]; }
  bool is_in(std::uint32_t rank) const { return (words_[members + rank / 64] >> (rank % 64) & 1) != 0; }
  /// Needs that rank in its call.
  bool needs(std::uint32_t rank) const;
  /// Of any part; unknown when it may have fallen off.
  std::optional<std::uint64_t> calls_of(std::uint64_t part) const;
  std::string text(const area& whole) const;

 private:
  std::vector<std::uint64_t> words_;
};

}  // namespace hydrogen::comm
