#pragma once
// All-reduce as a ring (Patarasuk and Yuan, 2009): each member talks to its two neighbours alone and sends the least
// that an all-reduce can, 2(P-1)/P of the buffer. Share k goes round from member k + 1 to member k, and each adds its
// own on the way; then the sum goes round from member k to member k - 1. Shares go in pieces of 256 KiB, and a piece
// goes on as soon as it is there.
//
//     step 0 .. P-2        member r sends what it has of share r - 1 - step to r + 1
//     step P-1 .. 2P-3     the same, now the sum
//
// The order of addition is another one for each share: x[k+1] + x[k+2] + ... + x[k]. So the bits are the same in all
// members, but not those of the tree of `combine`, nor those of another number of members. half and bfloat16 are added
// as float and rounded at each hop. `mean` is the sum, divided once by the owner of the share: a sum of halves beyond
// 65,504 is infinite, even where their mean is not. min and max keep the first of equals in that order.
//
// Members that are not neighbours send each other one frame without bytes, so that all hear from all.

#include <hydrogen/comm/exchange.hpp>

#include <vector>

namespace hydrogen::comm {

class rotating_ring final : public exchange {
 public:
  /// `data`: `count` elements, which may be fewer than members. The result replaces them, and parts of it on the way.
  rotating_ring(element kind, reduction how, std::byte* data, std::size_t count)
      : kind_(kind), how_(how), data_(data), count_(count) {}

  void start(exchange_port&) override;
  expected<mutable_byte_view> place(std::uint32_t from, const frame_header&) override;
  void arrived(std::uint32_t from, const frame_header&, exchange_port&) override;
  bool has_all_of(std::uint32_t from) const override;

 private:
  enum phase : std::uint16_t { partial, sum, greeting };
  std::uint32_t members() const { return static_cast<std::uint32_t>(greeted_.size()); }
  std::uint32_t left() const { return (self_ + members() - 1) % members(); }
  std::uint32_t right() const { return (self_ + 1) % members(); }
  std::uint32_t steps() const { return 2 * (members() - 1); }
  /// Whose share a member sends in a step.
  std::uint32_t owner_of(std::uint32_t member, std::uint32_t step) const {
    return (member + 2 * members() - 1 - step) % members();
  }
  share share_of(std::uint32_t owner) const { return comm::share_of(count_, owner, members()); }
  std::size_t bytes_of(std::uint32_t owner) const { return share_of(owner).count * size_of(kind_); }
  /// A member's first frame to another is a greeting, unless it is a piece.
  bool greets(std::uint32_t from, std::uint32_t to) const {
    return to != (from + 1) % members() || bytes_of(owner_of(from, 0)) == 0;
  }
  frame_header header(phase) const;
  /// The piece behind `done` bytes of the share that a member sends in a step.
  frame_header piece_of(std::uint32_t member, std::uint32_t step, std::size_t done) const;
  /// To the next step in which the left neighbour has something to send.
  void skip_empty();

  element kind_;
  reduction how_;
  std::byte* data_;
  std::size_t count_;
  std::uint32_t self_ = 0;
  std::vector<bool> greeted_;      // by whom; of who does not greet, true
  std::byte* incoming_ = nullptr;  // one piece: it is added as soon as it is there
  // What comes next from the left neighbour.
  std::uint32_t step_ = 0;
  std::size_t done_ = 0;
};

}  // namespace hydrogen::comm
