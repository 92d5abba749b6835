#pragma once
// What a group stands on: one implementation over a gang area, one over links. Arguments are checked by `group`; plans
// carry numbers and sizes. Members of a group are numbered from 0 in the order of their ranks in the gang. Used by one
// thread at a time.

#include <hydrogen/base/bytes.hpp>
#include <hydrogen/comm/area.hpp>
#include <hydrogen/comm/call.hpp>
#include <hydrogen/comm/tuning.hpp>

#include <memory>
#include <span>
#include <vector>

namespace hydrogen::comm {

/// The most that one rank can contribute where sizes are the sender's.
inline constexpr std::uint64_t max_contribution = std::uint64_t{4} << 30;

/// Where the bytes of one member go: into a buffer that gets their size, or into memory of exactly their size. Neither:
/// no bytes are expected.
struct inbox {
  byte_buffer* growing = nullptr;
  mutable_byte_view fixed;
};

/// The largest gang buffer.
inline constexpr std::uint64_t max_buffer = std::uint64_t{1} << 40;
/// Memory of this rank alone, aligned to a page. errc::over_limit when there is none.
expected<std::shared_ptr<std::byte>> private_memory(std::size_t bytes);

/// Who gets the result of a reduction: everyone all of it, the root all of it, or each its share.
enum class result_to : std::uint8_t { all, root, owners };

/// What a reduction works on, which need not be what the plan says: a step of a call in several steps.
struct reducing {
  element kind = element::none;
  reduction how = reduction::sum;
  std::byte* data = nullptr;
  std::size_t count = 0;  // elements
  result_to whom = result_to::all;
  std::uint32_t root = 0;  // a member

  std::size_t bytes() const { return count * size_of(kind); }
};

class group_engine {
 public:
  virtual ~group_engine() = default;
  virtual std::uint32_t size() const = 0;
  /// The same for all ranks of the gang.
  virtual const tuning& table() const = 0;
  /// In what the ranks meet, in at most 15 letters, for people.
  virtual const char* medium() const = 0;
  /// Where ranks meet, if they have one area.
  virtual std::shared_ptr<area> meets_in() const { return nullptr; }

  virtual expected<void> barrier(const call_plan&, duration timeout) = 0;
  /// What the member gets of the result replaces its own; the rest of its data stays as it is.
  virtual expected<void> reduce(const call_plan&, const reducing&, duration timeout) = 0;
  /// One message from each member to each: `out` for each member, or one entry for all; `in` from each. What a member
  /// sends to itself is not carried.
  virtual expected<void> pass(const call_plan&, std::span<const byte_view> out, std::span<const inbox> in,
                              duration timeout) = 0;
  /// An engine for some of the members, this one among them, which all of these call; plan.group tells groups apart.
  virtual expected<std::unique_ptr<group_engine>> split(const call_plan&, std::span<const std::uint32_t> members,
                                                        duration timeout) = 0;
  /// Memory for the data of this rank that the others can read where it is, if there is such memory; a call of the
  /// whole gang. Aligned to a page; its content is unspecified. errc::over_limit, for all: no room for one of them.
  virtual expected<std::shared_ptr<std::byte>> buffer(const call_plan&, std::size_t bytes, duration timeout);
  /// A call of this member has failed: ends all groups of its gang.
  virtual void give_up(const error&) {}
};

/// For `buffer`: who has got no memory tells all others.
expected<std::shared_ptr<std::byte>> all_or_none(group_engine&, const call_plan&,
                                                 expected<std::shared_ptr<std::byte>> mine, duration timeout);

}  // namespace hydrogen::comm
