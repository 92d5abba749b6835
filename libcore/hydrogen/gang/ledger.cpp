#include <hydrogen/gang/ledger.hpp>

#include <algorithm>

namespace hydrogen::gang {

template <class Change>
void ledger::change(ledger_node& node, Change&& apply) {
  total_free_ -= node.free();
  total_slots_ -= node.slots;
  apply(node);
  total_free_ += node.free();
  total_slots_ += node.slots;
}

ledger_node& ledger::add(boot_id boot, const std::string& name) {
  auto [at, fresh] = nodes_.try_emplace(boot);
  if (fresh) {
    at->second.boot = boot;
    at->second.name = name;
  }
  return at->second;
}

ledger_node* ledger::find(boot_id boot) {
  const auto at = nodes_.find(boot);
  return at == nodes_.end() ? nullptr : &at->second;
}

const ledger_node* ledger::find(boot_id boot) const {
  const auto at = nodes_.find(boot);
  return at == nodes_.end() ? nullptr : &at->second;
}

void ledger::erase(boot_id boot) {
  const auto at = nodes_.find(boot);
  if (at == nodes_.end()) return;
  total_free_ -= at->second.free();
  total_slots_ -= at->second.slots;
  nodes_.erase(at);
}

void ledger::set(ledger_node& node, std::uint32_t slots, bool listed, bool connected) {
  change(node, [&](ledger_node& n) {
    n.slots = slots;
    n.listed = listed;
    n.connected = connected;
  });
}

void ledger::debit(boot_id boot, const attempt_ref& ref, std::uint32_t slots) {
  auto* node = find(boot);
  invariant(node != nullptr, "a debit on a node that is not in the ledger");
  change(*node, [&](ledger_node& n) {
    const auto [at, fresh] = n.held.try_emplace(ref, slots);
    if (fresh) n.debited += slots;
  });
}

void ledger::credit(boot_id boot, const attempt_ref& ref) {
  auto* node = find(boot);
  if (node == nullptr) return;
  const auto at = node->held.find(ref);
  if (at == node->held.end()) return;
  change(*node, [&](ledger_node& n) {
    n.debited -= at->second;
    n.held.erase(at);
  });
}

std::vector<member> ledger::place_gang(std::uint32_t slots, const std::set<std::string>& avoid) const {
  if (slots == 0 || slots > total_free_) return {};
  struct candidate {
    bool avoided;
    std::uint32_t free;
    const ledger_node* node;
  };
  std::vector<candidate> candidates;
  std::uint32_t wanted = 0;
  for (const auto& [boot, node] : nodes_) {
    if (node.free() == 0) continue;
    const bool avoided = avoid.contains(node.name);
    if (!avoided) wanted += node.free();
    candidates.push_back({avoided, node.free(), &node});
  }
  // Without the avoided nodes if that is enough; the fullest first, so that few nodes are used.
  if (wanted >= slots) std::erase_if(candidates, [](const candidate& c) { return c.avoided; });
  std::sort(candidates.begin(), candidates.end(), [](const candidate& a, const candidate& b) {
    if (a.avoided != b.avoided) return b.avoided;
    if (a.free != b.free) return a.free > b.free;
    return a.node->name < b.node->name;
  });
  std::vector<member> members;
  auto left = slots;
  const auto take = [&](const candidate& c) {
    member m;
    m.node = c.node->name;
    m.agent = c.node->boot;
    m.slots = std::min(left, c.free);
    for (std::uint32_t i = 0; i < m.slots; ++i) m.ranks.push_back(slots - left + i);
    left -= m.slots;
    members.push_back(std::move(m));
  };
  for (std::size_t i = 0; left > 0 && i < candidates.size(); ++i) {
    // What is left goes to the smallest node that holds all of it: larger ones stay whole for larger gangs.
    auto best = i;
    while (best + 1 < candidates.size() && candidates[best + 1].avoided == candidates[i].avoided &&
           candidates[best + 1].free >= left) {
      ++best;
    }
    take(candidates[best]);
  }
  return members;
}

member ledger::place_lease(std::uint32_t most, const std::set<std::string>& avoid) const {
  const ledger_node* best = nullptr;
  bool best_avoided = false;
  for (const auto& [boot, node] : nodes_) {
    if (node.free() == 0) continue;
    const bool avoided = avoid.contains(node.name);
    if (best == nullptr || avoided < best_avoided ||
        (avoided == best_avoided &&
         (node.free() > best->free() || (node.free() == best->free() && node.name < best->name)))) {
      best = &node;
      best_avoided = avoided;
    }
  }
  member m;
  if (best == nullptr || most == 0) return m;
  m.node = best->name;
  m.agent = best->boot;
  m.slots = std::min({most, best->free(), std::max<std::uint32_t>(1, best->slots / 4)});
  return m;
}

}  // namespace hydrogen::gang
