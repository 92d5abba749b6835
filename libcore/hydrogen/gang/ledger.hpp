#pragma once
// The coordinator's own account of slots: which nodes there are, what of each is debited to which attempt, and where
// the slots of a request would be placed. An attempt is debited before the first reserve leaves, and credited only when
// the agent confirmed that the entry is gone or the agent's boot is dead: the ledger never believes more free than is
// free.
//
// A node counts as having nothing free until its list of this term is in (`listed`), and while contact is lost.
// One thread (the coordinator's actor). Pure.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/gang/messages.hpp>

#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace hydrogen::gang {

struct attempt_ref_hash {
  std::size_t operator()(const attempt_ref& x) const {
    return hash_mix(std::hash<request_id>{}(x.request), std::hash<attempt_id>{}(x.attempt));
  }
};

/// One agent boot. The fields are the account's own; others read them.
struct ledger_node {
  boot_id boot;
  std::string name;
  std::uint32_t slots = 0;
  std::uint32_t debited = 0;
  bool listed = false;         // its list under this term was counted
  bool connected = false;      // contact now
  time_point lost_at = never;  // since when not
  std::unordered_map<attempt_ref, std::uint32_t, attempt_ref_hash> held;
  std::unordered_map<attempt_ref, request_kind, attempt_ref_hash> orphans;  // listed, not kept, not confirmed gone
  std::map<boot_id, run_id> executors;                                      // as far as the coordinator heard

  bool usable() const { return listed && connected; }
  std::uint32_t free() const { return usable() && slots > debited ? slots - debited : 0; }
};

class ledger {
 public:
  /// The node of this boot; made when new (with no slots, not listed).
  ledger_node& add(boot_id, const std::string& name);
  ledger_node* find(boot_id);
  const ledger_node* find(boot_id) const;
  /// Forgets a dead boot with everything debited there.
  void erase(boot_id);

  /// Sets size or contact; free slots follow.
  void set(ledger_node&, std::uint32_t slots, bool listed, bool connected);

  void debit(boot_id, const attempt_ref&, std::uint32_t slots);
  /// What was debited there for this attempt is free again. No effect when nothing was.
  void credit(boot_id, const attempt_ref&);

  std::uint32_t total_free() const { return total_free_; }
  /// Slots of all nodes, whatever their state: what feasibility is judged on.
  std::uint32_t total_slots() const { return total_slots_; }
  const std::map<boot_id, ledger_node>& nodes() const { return nodes_; }

  /// Where `slots` slots of a gang would lie: packed onto as few nodes as possible, ranks numbered so that neighbours
  /// share a node. Nodes in `avoid` only when the others do not suffice. Empty: not enough free.
  std::vector<member> place_gang(std::uint32_t slots, const std::set<std::string>& avoid) const;

  /// Where the next lease of a parallel request would lie: the node with most free, in pieces of a quarter of the node
  /// (so that a recall gets slots back one by one), at most `most`. No slots: nothing is free.
  member place_lease(std::uint32_t most, const std::set<std::string>& avoid) const;

 private:
  template <class Change>
  void change(ledger_node&, Change&&);

  std::map<boot_id, ledger_node> nodes_;
  std::uint32_t total_free_ = 0;
  std::uint32_t total_slots_ = 0;
};

}  // namespace hydrogen::gang
