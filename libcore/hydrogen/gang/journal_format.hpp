#pragma once
// The file of a journal, shared by writer and reader. All numbers little-endian.
//
//     "HYDJRNL1"                                 8 bytes, once
//     | length u32 | check u32 | batch u64 | hash u64 | record: `length` bytes |     repeated
//
// The file may end in zeros, which are no record: space that its writer took ahead and, being killed, did not give
// back.
//
// `check` covers the other fields of the header and the place of the header in the file; `hash` is XXH3 of the record.
// `batch` is the place of the first record that was written in the same sync. It tells a torn end from damage: what was
// written in one sync may be on disk in part, in any order; but when a later sync wrote something, everything before
// it had been durable, so a bad record before it is damage.

#include <hydrogen/base/hash.hpp>

#include <array>
#include <cstdint>
#include <string_view>

namespace hydrogen::gang::journal_format {

inline constexpr std::string_view magic = "HYDJRNL1";
inline constexpr std::string_view file_name = "journal";
inline constexpr std::string_view lock_name = "lock";
inline constexpr std::size_t header_size = 24;
inline constexpr std::uint32_t max_record = 64u << 20;

struct header {
  std::uint32_t length = 0;
  std::uint32_t check = 0;
  std::uint64_t batch = 0;
  std::uint64_t hash = 0;

  /// What `check` must be for a header that stands at this place.
  std::uint32_t expected_check(std::uint64_t at) const {
    const std::array<std::uint64_t, 4> fields{length, batch, hash, at};
    return static_cast<std::uint32_t>(hash_bytes(std::as_bytes(std::span(fields))));
  }
  template <class I>
  friend auto inspect(I& f, header& x) {
    return f(x.length, x.check, x.batch, x.hash);
  }
};

}  // namespace hydrogen::gang::journal_format
