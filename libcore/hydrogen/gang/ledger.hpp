#pragma once
// The coordinator's own account of slots: which nodes there are, what of each is debited to which attempt, and where
// the slots of a request would be placed. An attempt is debited before the first reserve leaves, and credited only when
// the agent confirmed that the entry is gone or the agent's boot is dead: the ledger never believes more free than is
// free.
//
// A node counts as having nothing free until its list of this term is in (`listed`), while contact is lost, and while
// it is drained. One thread (the coordinator's actor). Pure.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/gang/messages.hpp>

#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace hydrogen::gang {

/// Slots of one attempt on one node, and what each of them needs.
struct holding {
  std::uint32_t slots = 0;
  resources each;
  bool returning = false;  // its end is decided and not confirmed yet
};

/// One agent boot. The fields are the account's own; others read them.
struct ledger_node {
  boot_id boot;
  std::string name;
  node_size size;
  share taken;                  // by what is debited
  std::uint32_t returning = 0;  // slots of these
  bool listed = false;          // its list under this term was counted
  bool connected = false;       // contact now
  bool draining = false;        // nothing new begins there
  time_point lost_at = never;   // since when not
  std::unordered_map<attempt_ref, holding> held;
  std::unordered_map<attempt_ref, request_kind> orphans;  // listed, not kept, not confirmed gone
  std::map<boot_id, run_id> executors;                    // as far as the coordinator heard

  bool usable() const { return listed && connected && !draining; }
  std::uint32_t free() const { return usable() && size.slots > taken.slots ? size.slots - taken.slots : 0; }
  /// How many slots of this kind it would take now; with `freed` more given back.
  std::uint32_t room(const demand&, const share* freed = nullptr) const;
};

class ledger {
 public:
  ledger() = default;
  ledger(const ledger&) = delete;  // its index points into it
  ledger& operator=(const ledger&) = delete;

  /// The node of this boot; made when new (with no slots, not listed).
  ledger_node& add(boot_id, const std::string& name);
  ledger_node* find(boot_id);
  const ledger_node* find(boot_id) const;
  /// Forgets a dead boot with everything debited there.
  void erase(boot_id);

  /// Size or contact; free slots follow.
  void resize(ledger_node&, node_size);
  void set(ledger_node&, bool listed, bool connected);
  void drain(ledger_node&, bool on);

  void debit(boot_id, const attempt_ref&, std::uint32_t slots, const resources& each);
  /// What is debited there for this attempt is about to be given back. No effect when nothing is.
  void returns(boot_id, const attempt_ref&);
  /// What was debited there for this attempt is free again. No effect when nothing was.
  void credit(boot_id, const attempt_ref&);

  std::uint32_t total_free() const { return total_free_; }
  /// Debited to what is over and not confirmed yet.
  std::uint32_t total_returning() const { return total_returning_; }
  /// Slots of all nodes, whatever their state: what feasibility is judged on.
  std::uint32_t total_slots() const { return total_slots_; }
  /// Nodes whose list under this term was counted.
  std::uint32_t listed() const { return listed_; }
  const std::map<boot_id, ledger_node>& nodes() const { return nodes_; }

  /// Whether so many slots of this kind are free.
  bool fits(std::uint32_t slots, const demand&) const;

  /// Where the slots of a gang would lie, `most` or as many as there are, at least `least`: as the demand says, ranks
  /// numbered so that neighbours share a node. Nodes in `avoid` only when the others do not suffice for `least`; those
  /// for which `banned` says so, never. Empty: not enough free.
  struct any_node {
    bool operator()(const ledger_node&) const { return false; }
  };
  template <class Banned = any_node>
  std::vector<member> place_gang(std::uint32_t least, std::uint32_t most, const demand&,
                                 const std::set<std::string>& avoid, Banned&& banned = {}) const;

  /// Where the next lease of a parallel request would lie: the node with most room, in pieces of a quarter of the node
  /// (so that a recall gets slots back one by one), at most `most`. No slots: nothing is free.
  template <class Banned = any_node>
  member place_lease(std::uint32_t most, const demand&, const std::set<std::string>& avoid, Banned&& banned = {}) const;

 private:
  struct candidate {
    bool avoided;
    std::uint32_t room;
    const ledger_node* node;
  };
  struct at_least {
    std::uint32_t free;
  };
  struct by_free {
    using is_transparent = void;
    bool operator()(const ledger_node* a, const ledger_node* b) const;
    bool operator()(const ledger_node* a, at_least b) const { return a->free() >= b.free; }
  };
  template <class Change>
  void change(ledger_node&, Change&&);
  std::vector<member> choose(std::vector<candidate>, std::uint32_t least, std::uint32_t most, placement) const;
  std::vector<member> pack_any(std::uint32_t slots) const;

  std::map<boot_id, ledger_node> nodes_;
  std::set<const ledger_node*, by_free> open_;  // with free slots: most first, then by name
  std::uint32_t total_free_ = 0;
  std::uint32_t total_slots_ = 0;
  std::uint32_t total_returning_ = 0;
  std::uint32_t listed_ = 0;
};

template <class Banned>
std::vector<member> ledger::place_gang(std::uint32_t least, std::uint32_t most, const demand& needs,
                                       const std::set<std::string>& avoid, Banned&& banned) const {
  if (least == 0 || least > total_free_) return {};
  if constexpr (std::is_same_v<std::decay_t<Banned>, any_node>) {
    if (needs.any_slot() && needs.how == placement::pack && avoid.empty()) {
      return pack_any(std::min(most, total_free_));
    }
  }
  std::vector<candidate> candidates;
  for (const auto* node : open_) {
    if (banned(*node)) continue;
    const auto room = node->room(needs);
    if (room > 0) candidates.push_back({avoid.contains(node->name), room, node});
  }
  return choose(std::move(candidates), least, most, needs.how);
}

template <class Banned>
member ledger::place_lease(std::uint32_t most, const demand& needs, const std::set<std::string>& avoid,
                           Banned&& banned) const {
  candidate best{true, 0, nullptr};
  for (const auto* node : open_) {
    if (banned(*node)) continue;
    const candidate c{avoid.contains(node->name), node->room(needs), node};
    if (c.room == 0) continue;
    if (best.node == nullptr || c.avoided < best.avoided || (c.avoided == best.avoided && c.room > best.room)) best = c;
    // Nobody behind has more free.
    if (!best.avoided && best.room >= node->free()) break;
  }
  member m;
  if (best.node == nullptr || most == 0) return m;
  m.node = best.node->name;
  m.agent = best.node->boot;
  m.slots = std::min({most, best.room, std::max<std::uint32_t>(1, best.node->size.slots / 4)});
  return m;
}

}  // namespace hydrogen::gang
