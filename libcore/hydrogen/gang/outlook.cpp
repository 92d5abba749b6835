#include <hydrogen/gang/outlook.hpp>

#include <algorithm>

namespace hydrogen::gang {

outlook::outlook(const ledger& account, const demand& needs, bool returning) : account_(&account), needs_(&needs) {
  if (needs.any_slot()) {
    room_ = std::uint64_t{account.total_free()} + (returning ? account.total_returning() : 0);
    return;
  }
  for (const auto& [boot, node] : account.nodes()) {
    const auto room = node.room(needs);
    room_ = needs.how == placement::one_node ? std::max<std::uint64_t>(room_, room) : room_ + room;
    if (!returning || node.returning == 0) continue;
    for (const auto& [ref, h] : node.held) {
      if (h.returning) add(node, h.slots, h.each);
    }
  }
}

void outlook::add(const ledger_node& node, std::uint32_t slots, const resources& each) {
  auto& freed = freed_[node.boot];
  const auto before = node.room(*needs_, &freed);
  freed.slots += slots;
  hydrogen::add(freed.all, each, slots);
  const auto after = node.room(*needs_, &freed);
  room_ = needs_->how == placement::one_node ? std::max<std::uint64_t>(room_, after) : room_ + after - before;
}

void outlook::add(const attempt_state& a, const resources& each) {
  for (const auto& m : a.members) {
    if (!m.holds()) continue;
    const auto* node = account_->find(m.is.agent);
    if (node == nullptr || !node->usable()) continue;
    if (needs_->any_slot()) {
      room_ += m.is.slots;
    } else {
      add(*node, m.is.slots, each);
    }
  }
}

}  // namespace hydrogen::gang
