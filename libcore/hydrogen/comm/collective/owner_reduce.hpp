#pragma once
// The all-reduce for large buffers between processes: each rank owns 1/P of the buffer, receives that slice of all
// others, adds piece by piece in the fixed order as soon as a piece of every rank is there, and sends each sum back
// at once, ahead of raw data. The same number of bytes as a ring, in two steps.

#include <hydrogen/comm/mesh.hpp>

#include <vector>

namespace hydrogen::comm {

class owner_reduce final : public exchange {
 public:
  /// `data`: `count` elements, replaced by the result; at least one element for each rank.
  owner_reduce(element kind, reduction how, std::byte* data, std::size_t count)
      : kind_(kind), how_(how), data_(data), count_(count) {}

  void start(mesh&) override;
  expected<mutable_byte_view> place(std::uint32_t from, const frame_header&) override;
  void arrived(std::uint32_t from, const frame_header&, mesh&) override;
  bool has_all_of(std::uint32_t rank) const override;

 private:
  enum phase : std::uint16_t { raw, sum };
  struct seat {
    std::byte* raw_at = nullptr;  // its contributions to the slice of this rank
    std::size_t raw_received = 0;
    std::size_t sum_received = 0;
  };
  std::size_t begin_of(std::uint32_t rank) const { return count_ * rank / seats_.size() * size_of(kind_); }
  std::size_t bytes_of(std::uint32_t rank) const { return begin_of(rank + 1) - begin_of(rank); }
  frame_header piece_of(std::uint32_t slice, std::size_t done, phase) const;

  element kind_;
  reduction how_;
  std::byte* data_;
  std::size_t count_;
  std::uint32_t rank_ = 0;
  std::vector<seat> seats_;
  std::vector<const std::byte*> sources_;
  std::size_t reduced_ = 0;  // bytes of the own slice
};

}  // namespace hydrogen::comm
