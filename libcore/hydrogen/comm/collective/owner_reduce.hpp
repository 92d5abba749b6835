#pragma once
// The reductions for large buffers between processes: each member owns 1/P of the buffer, receives that share of all
// others, adds piece by piece in the fixed order as soon as a piece of everyone is there, and sends each sum to whoever
// gets it at once, ahead of raw data. For an all-reduce the same number of bytes as a ring, in two steps.

#include <hydrogen/comm/exchange.hpp>
#include <hydrogen/comm/group_engine.hpp>

#include <vector>

namespace hydrogen::comm {

class owner_reduce final : public exchange {
 public:
  /// At least one element for each member. What this member gets of the result replaces its own.
  /// `weights`: how many ranks each member stands for, if not one; must outlive the exchange.
  explicit owner_reduce(const reducing& what, std::span<const std::uint32_t> weights = {})
      : kind_(what.kind),
        how_(what.how),
        data_(what.data),
        count_(what.count),
        whom_(what.whom),
        root_(what.root),
        weights_(weights) {}

  void start(exchange_port&) override;
  expected<mutable_byte_view> place(std::uint32_t from, const frame_header&) override;
  void arrived(std::uint32_t from, const frame_header&, exchange_port&) override;
  bool has_all_of(std::uint32_t from) const override;

 private:
  enum phase : std::uint16_t { raw, sum };
  struct seat {
    std::byte* raw_at = nullptr;  // its contributions to the share of this member
    std::size_t raw_received = 0;
    std::size_t sum_received = 0;
  };
  std::size_t begin_of(std::uint32_t member) const { return share_of(member).begin * size_of(kind_); }
  std::size_t bytes_of(std::uint32_t member) const { return share_of(member).count * size_of(kind_); }
  share share_of(std::uint32_t member) const {
    return comm::share_of(count_, member, static_cast<std::uint32_t>(seats_.size()));
  }
  /// Bytes of sums that this member gets from another.
  std::size_t sums_of(std::uint32_t member) const {
    return whom_ == result_to::all || (whom_ == result_to::root && self_ == root_) ? bytes_of(member) : 0;
  }
  frame_header piece_of(std::uint32_t owner, std::size_t done, phase) const;

  element kind_;
  reduction how_;
  std::byte* data_;
  std::size_t count_;
  result_to whom_;
  std::uint32_t root_;
  std::span<const std::uint32_t> weights_;
  std::uint32_t self_ = 0;
  std::vector<seat> seats_;
  std::vector<const std::byte*> sources_;
  std::size_t reduced_ = 0;    // bytes of the own share
  std::uint32_t missing_ = 0;  // of how many the piece behind these is not there
};

}  // namespace hydrogen::comm
