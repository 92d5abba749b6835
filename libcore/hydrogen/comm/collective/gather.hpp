#pragma once
// Everybody sends its bytes to everybody. With other contents this is the barrier and the join (no bytes), the
// broadcast (bytes of the root only), all_gather, and the one-shot all-reduce for small sizes (each rank then adds up
// everything).

#include <hydrogen/comm/mesh.hpp>

#include <vector>

namespace hydrogen::comm {

/// The most that one rank can contribute where sizes are the sender's.
inline constexpr std::uint64_t max_contribution = std::uint64_t{4} << 30;

class gather final : public exchange {
 public:
  /// Where the bytes of one rank go.
  struct seat {
    byte_buffer* growing = nullptr;  // any size: replaced with what comes
    mutable_byte_view fixed;         // else exactly this size
    std::uint64_t total = 0;
    std::uint64_t received = 0;
    bool entered = false;
  };
  /// `seats[r]` for each rank; its own is not used. Everything must outlive the exchange.
  gather(byte_view mine, std::vector<seat> seats) : mine_(mine), seats_(std::move(seats)) {}

  void start(mesh&) override;
  expected<mutable_byte_view> place(std::uint32_t from, const frame_header&) override;
  void arrived(std::uint32_t from, const frame_header&, mesh&) override;
  bool has_all_of(std::uint32_t rank) const override;

 private:
  byte_view mine_;
  std::vector<seat> seats_;
};

}  // namespace hydrogen::comm
