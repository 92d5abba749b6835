#include <hydrogen/comm/islands.hpp>

#include <algorithm>
#include <bit>

namespace hydrogen::comm {
namespace {

void add(std::span<const std::string_view> hosts, std::uint32_t first, std::uint32_t size, std::vector<island>& to) {
  const auto branch = hosts.subspan(first, size);
  if (std::all_of(branch.begin(), branch.end(), [&](auto h) { return h == branch[0]; })) {
    to.push_back({first, size});
    return;
  }
  const auto left = std::bit_floor(size - 1);
  add(hosts, first, left, to);
  add(hosts, first + left, size - left, to);
}

}  // namespace

std::vector<island> islands_of(std::span<const std::string_view> hosts) {
  std::vector<island> all;
  if (!hosts.empty()) add(hosts, 0, static_cast<std::uint32_t>(hosts.size()), all);
  return all;
}

std::vector<island> islands_of(const gang_table& members) {
  std::vector<std::string_view> hosts;
  for (const auto& m : members) hosts.push_back(host_of(m));
  return islands_of(hosts);
}

std::vector<island> without(std::span<const island> islands, std::span<const std::byte> shares_memory) {
  std::vector<island> all;
  for (const auto& i : islands) {
    const auto its = shares_memory.subspan(i.first, i.size);
    if (std::all_of(its.begin(), its.end(), [](std::byte shares) { return shares != std::byte{0}; })) {
      all.push_back(i);
      continue;
    }
    for (std::uint32_t r = 0; r < i.size; ++r) all.push_back({i.first + r, 1});
  }
  return all;
}

std::string_view host_of(const gang_member& m) {
  return std::string_view(m.endpoint).substr(0, std::min(m.endpoint.rfind(':'), m.endpoint.size()));
}

}  // namespace hydrogen::comm
