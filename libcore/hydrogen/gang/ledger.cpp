#include <hydrogen/gang/ledger.hpp>

#include <algorithm>

namespace hydrogen::gang {
namespace {

member part_of(const ledger_node& node, std::uint32_t slots, std::uint32_t first_rank) {
  member m;
  m.node = node.name;
  m.agent = node.boot;
  m.slots = slots;
  for (std::uint32_t i = 0; i < slots; ++i) m.ranks.push_back(first_rank + i);
  return m;
}

}  // namespace

std::uint32_t ledger_node::room(const demand& needs, const share* freed) const {
  return usable() ? size.room(needs, taken, freed) : 0;
}

bool ledger::by_free::operator()(const ledger_node* a, const ledger_node* b) const {
  if (a->free() != b->free()) return a->free() > b->free();
  if (a->name != b->name) return a->name < b->name;
  return a->boot < b->boot;
}

template <class Change>
void ledger::change(ledger_node& node, Change&& apply) {
  if (node.free() > 0) open_.erase(&node);
  total_free_ -= node.free();
  total_slots_ -= node.size.slots;
  total_returning_ -= node.returning;
  listed_ -= node.listed ? 1 : 0;
  apply(node);
  total_free_ += node.free();
  total_slots_ += node.size.slots;
  total_returning_ += node.returning;
  listed_ += node.listed ? 1 : 0;
  if (node.free() > 0) open_.insert(&node);
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
  change(at->second, [](ledger_node& n) {
    n.listed = false;
    n.size = {};
    n.returning = 0;
  });
  nodes_.erase(at);
}

void ledger::resize(ledger_node& node, node_size size) {
  change(node, [&](ledger_node& n) { n.size = std::move(size); });
}

void ledger::set(ledger_node& node, bool listed, bool connected) {
  change(node, [&](ledger_node& n) {
    n.listed = listed;
    n.connected = connected;
  });
}

void ledger::drain(ledger_node& node, bool on) {
  change(node, [&](ledger_node& n) { n.draining = on; });
}

void ledger::debit(boot_id boot, const attempt_ref& ref, std::uint32_t slots, const resources& each) {
  auto* node = find(boot);
  invariant(node != nullptr, "a debit on a node that is not in the ledger");
  change(*node, [&](ledger_node& n) {
    const auto [at, fresh] = n.held.try_emplace(ref, holding{slots, each, false});
    if (!fresh) return;
    n.taken.slots += slots;
    hydrogen::add(n.taken.all, each, slots);
  });
}

void ledger::returns(boot_id boot, const attempt_ref& ref) {
  auto* node = find(boot);
  if (node == nullptr) return;
  const auto at = node->held.find(ref);
  if (at == node->held.end() || at->second.returning) return;
  at->second.returning = true;
  node->returning += at->second.slots;
  total_returning_ += at->second.slots;
}

void ledger::credit(boot_id boot, const attempt_ref& ref) {
  auto* node = find(boot);
  if (node == nullptr) return;
  const auto at = node->held.find(ref);
  if (at == node->held.end()) return;
  change(*node, [&](ledger_node& n) {
    const auto& h = at->second;
    n.taken.slots -= h.slots;
    if (h.returning) n.returning -= h.slots;
    subtract(n.taken.all, h.each, h.slots);
    n.held.erase(at);
  });
}

bool ledger::fits(std::uint32_t slots, const demand& needs) const {
  if (slots > total_free_) return false;
  if (needs.any_slot()) return true;
  std::uint64_t found = 0;
  for (const auto* node : open_) {
    const auto room = node->room(needs);
    found = needs.how == placement::one_node ? std::max<std::uint64_t>(found, room) : found + room;
    if (found >= slots) return true;
  }
  return false;
}

// ---- placement -----------------------------------------------------------------------------------------------------

/// The fullest node is left out for one that holds just what is left: larger ones stay whole for larger gangs.
std::vector<member> ledger::pack_any(std::uint32_t slots) const {
  std::vector<member> members;
  auto left = slots;
  for (auto at = open_.begin(); left > 0; ++at) {
    invariant(at != open_.end(), "the free slots of the ledger do not add up");
    if ((*at)->free() >= left) {
      // The last one that holds all that is left.
      members.push_back(part_of(**std::prev(open_.lower_bound(at_least{left})), left, slots - left));
      return members;
    }
    members.push_back(part_of(**at, (*at)->free(), slots - left));
    left -= (*at)->free();
  }
  return members;
}

std::vector<member> ledger::choose(std::vector<candidate> all, std::uint32_t least, std::uint32_t most,
                                   placement how) const {
  const auto better = [](const candidate& a, const candidate& b) {
    if (a.avoided != b.avoided) return b.avoided;
    if (a.room != b.room) return a.room > b.room;
    return a.node->name < b.node->name;
  };
  std::sort(all.begin(), all.end(), better);
  if (how == placement::one_node) {
    // The smallest that holds `most`, or else the largest; an avoided one only if no other holds `least`.
    const candidate* best = nullptr;
    for (const auto& c : all) {
      if (c.room < least || (best != nullptr && c.avoided != best->avoided)) continue;
      if (best == nullptr || c.room >= most) best = &c;
    }
    if (best == nullptr) return {};
    return {part_of(*best->node, std::min(best->room, most), 0)};
  }
  std::uint64_t good = 0, total = 0;
  for (const auto& c : all) {
    total += c.room;
    good += c.avoided ? 0 : c.room;
  }
  if (total < least) return {};
  if (good >= least) {
    std::erase_if(all, [](const candidate& c) { return c.avoided; });
    total = good;
  }
  const auto slots = static_cast<std::uint32_t>(std::min<std::uint64_t>(total, most));
  std::vector<member> members;
  auto left = slots;
  if (how == placement::spread) {
    // Evenly, as water fills vessels: `level` on each node that has it, one more on the first few.
    std::vector<std::uint32_t> share(all.size(), 0);
    while (left > 0) {
      const auto open = static_cast<std::uint32_t>(
          std::count_if(all.begin(), all.end(), [&](const auto& c) { return share[&c - all.data()] < c.room; }));
      const auto level = std::max<std::uint32_t>(1, left / open);
      for (std::size_t i = 0; i < all.size() && left > 0; ++i) {
        const auto more = std::min({level, all[i].room - share[i], left});
        share[i] += more;
        left -= more;
      }
    }
    std::uint32_t first = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (share[i] > 0) members.push_back(part_of(*all[i].node, share[i], first));
      first += share[i];
    }
    return members;
  }
  for (std::size_t i = 0; left > 0 && i < all.size(); ++i) {
    auto best = i;
    while (best + 1 < all.size() && all[best + 1].avoided == all[i].avoided && all[best + 1].room >= left) ++best;
    const auto& c = all[best];
    members.push_back(part_of(*c.node, std::min(left, c.room), slots - left));
    left -= members.back().slots;
  }
  return members;
}

}  // namespace hydrogen::gang
