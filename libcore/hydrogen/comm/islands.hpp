#pragma once
// Which ranks of a gang reduce in memory before anything goes over links. The order of addition is a tree over rank
// numbers (element.hpp), so a partial sum may only be formed of a whole branch of it: an island is a branch whose ranks
// are all on one host, as large as possible. Where each host has the same power of two of ranks, numbered one host
// after the other, an island is a host. Pure; any thread.

#include <hydrogen/comm/gang_table.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace hydrogen::comm {

/// Ranks `first` to `first + size - 1`. Its leader is the first.
struct island {
  std::uint32_t first = 0;
  std::uint32_t size = 1;
  bool has(std::uint32_t rank) const { return rank >= first && rank - first < size; }
};

/// Of `hosts[r]`, the host of rank r: all ranks, in their order.
std::vector<island> islands_of(std::span<const std::string_view> hosts);
/// Those of ranks that have the address of their process in common, without the port.
std::vector<island> islands_of(const gang_table&);
/// Where memory is not shared after all (0 for any rank of an island), every rank stands for itself.
std::vector<island> without(std::span<const island>, std::span<const std::byte> shares_memory);

/// The address of a member's process without the port: its host.
std::string_view host_of(const gang_member&);

}  // namespace hydrogen::comm
