#pragma once
// Everybody sends bytes to everybody, one message a pair. With other contents this is the barrier and the join (no
// bytes), broadcast, gather, scatter, all_gather, all_to_all, a transfer between two, and the one-shot reductions for
// small sizes (whoever needs a result adds up what it got).

#include <hydrogen/comm/exchange.hpp>
#include <hydrogen/comm/group_engine.hpp>

#include <vector>

namespace hydrogen::comm {

class messages final : public exchange {
 public:
  /// `out`: the bytes for each member of the call, or one entry for all. `in[i]`: where those of member i go. Those of
  /// the rank itself are not used. Everything must outlive the exchange.
  messages(std::span<const byte_view> out, std::span<const inbox> in) : out_(out), in_(in), seats_(in.size()) {}

  void start(exchange_port&) override;
  expected<mutable_byte_view> place(std::uint32_t from, const frame_header&) override;
  void arrived(std::uint32_t from, const frame_header&, exchange_port&) override;
  bool has_all_of(std::uint32_t from) const override;

 private:
  struct seat {
    std::uint64_t total = 0;
    std::uint64_t received = 0;
    bool entered = false;
  };
  std::span<const byte_view> out_;
  std::span<const inbox> in_;
  std::vector<seat> seats_;
};

}  // namespace hydrogen::comm
