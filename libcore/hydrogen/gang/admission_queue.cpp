// Who is next: the order of the queue, placement, recall, and what can never fit.

#include <hydrogen/gang/admission.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace hydrogen::gang {

std::uint32_t admission::need(const request_state& r) const {
  if (r.is_gang()) return r.what.least;
  const auto least = std::min(r.what.least, r.what.most);
  return least > r.held ? least - r.held : 0;
}

/// Keeps the three orders of the queue in step with what a request is.
void admission::reindex(request_state& r) {
  const bool open = !r.final && r.confirmed;
  const auto set = [&](std::map<queue_place, request_id>& index, bool in) {
    if (in) {
      index.insert_or_assign(r.at, r.what.id);
    } else {
      index.erase(r.at);
    }
  };
  if (!r.is_gang() && open && r.held == 0 && r.keep == 0 && head_ && *head_ != r.what.id) {
    // Recalled to nothing: directly behind the gang it gave way to.
    const auto* head = find(*head_);
    if (head != nullptr && r.at < head->at) move_in_queue(r, {head->at.place, r.submitted + 1});
    r.keep = UINT32_MAX;
    recalled_.erase(r.what.id);
    send_recall(r);
  }
  bool unserved = open;
  if (r.is_gang()) {
    unserved = open && !r.parked && !r.requeuing && r.attempts.empty();
  } else {
    unserved = open && need(r) > 0;
  }
  set(unserved_, unserved);
  set(wishing_, open && !r.is_gang() && !unserved && r.held < std::min(r.what.most, r.keep));
  set(holding_, !r.is_gang() && r.held > 0);
  if (!unserved && head_ == r.what.id) head_.reset();
  queue_changed_ = true;
}

void admission::move_in_queue(request_state& r, queue_place to) {
  unserved_.erase(r.at);
  wishing_.erase(r.at);
  holding_.erase(r.at);
  r.at = to;
}

void admission::schedule() {
  queue_changed_ = false;
  const request_state* blocked = nullptr;
  while (!unserved_.empty() && !is_short()) {
    auto& r = requests_.at(unserved_.begin()->second);
    if (deny_if_never_fits(r)) continue;
    if (!try_serve(r)) {
      blocked = &r;
      break;
    }
  }
  if (blocked == nullptr) {
    head_.reset();
    lift_recalls();
    if (!is_short()) grant_wishes();
  } else {
    if (head_ != blocked->what.id) lift_recalls();
    head_ = blocked->what.id;
    recall_for(*blocked);
  }
  if (!unserved_.empty()) {
    wake_by({wake_kind::reasons, {}, {}, {}}, now_ + options_.retry);
  }
  queue_changed_ = false;
}

bool admission::try_serve(request_state& r) {
  if (now_ < r.not_before) {
    wakes_.set({wake_kind::request, r.what.id, {}, {}}, r.not_before);
    return false;
  }
  if (need(r) > ledger_.total_free()) return false;
  if (r.is_gang()) {
    start_attempt(r, ledger_.place_gang(r.what.least, r.avoid));
  } else {
    while (need(r) > 0) start_attempt(r, {ledger_.place_lease(r.what.most - r.held, r.avoid)});
  }
  if (!r.told_reason.empty()) {
    r.told_reason.clear();
    tell_job(r.what.id.run, admitted{term_, r.what.id, {}});
  }
  return true;
}

/// Wishes beyond the least: only when nobody in front needs a slot.
void admission::grant_wishes() {
  for (auto at = wishing_.begin(); at != wishing_.end() && ledger_.total_free() > 0;) {
    auto& r = requests_.at((at++)->second);  // one that has all it wants leaves the index
    if (now_ < r.not_before) {
      wakes_.set({wake_kind::request, r.what.id, {}, {}}, r.not_before);
      continue;
    }
    while (ledger_.total_free() > 0 && r.held < r.what.most) {
      start_attempt(r, {ledger_.place_lease(r.what.most - r.held, r.avoid)});
    }
  }
}

// ---- recall --------------------------------------------------------------------------------------------------------

/// Asks parallel stages, the newest first, for what the head lacks; only if that suffices, for a stage that gives slots
/// back in vain loses time for nothing.
void admission::recall_for(const request_state& head) {
  const auto wanted = need(head);
  std::uint64_t coming = std::uint64_t{ledger_.total_free()} + returning_;
  for (const auto& id : recalled_) {
    const auto& r = requests_.at(id);
    if (r.held > r.keep) coming += r.held - r.keep;
  }
  if (coming >= wanted) return;
  // A gang may take all of a stage; a stage only what others have beyond their least.
  const auto spare = [&](const request_state& r) {
    const auto allowed = std::min(r.keep, r.held);
    const auto floor = head.is_gang() ? 0 : std::min(r.what.least, r.what.most);
    return allowed > floor ? allowed - floor : 0;
  };
  std::vector<std::pair<request_state*, std::uint32_t>> asked;
  for (auto at = holding_.rbegin(); at != holding_.rend() && coming < wanted; ++at) {
    auto& r = requests_.at(at->second);
    if (r.final || at->second == head.what.id) continue;
    const auto take = static_cast<std::uint32_t>(std::min<std::uint64_t>(spare(r), wanted - coming));
    if (take == 0) continue;
    coming += take;
    asked.push_back({&r, take});
  }
  if (coming < wanted) return;
  for (const auto& [r, take] : asked) {
    r->keep = std::min(r->keep, r->held) - take;
    r->recall_until = now_ + options_.gate_deadline;
    recalled_.insert(r->what.id);
    reindex(*r);
    send_recall(*r);
    wakes_.set({wake_kind::request, r->what.id, {}, {}}, r->recall_until);
  }
}

void admission::send_recall(request_state& r) {
  notify(r.what.id.run, {noted_kind::recall, r.what.id, {}, {}},
         recall{term_, r.what.id, r.held > r.keep ? r.held - r.keep : 0, std::min(r.keep, r.what.most), ++r.recalls});
}

void admission::wake_request(request_state& r) {
  queue_changed_ = true;  // after a refusal it may be placed again
  if (!recalled_.contains(r.what.id) || r.held <= r.keep || r.final) return;
  if (now_ < r.recall_until) {
    wakes_.set({wake_kind::request, r.what.id, {}, {}}, r.recall_until);
  } else {
    log(true, fmt::format("{} ({}) did not give back {} slots in time: they are taken", r.what.label,
                          to_string(r.what.id), r.held - r.keep));
    std::vector<attempt_id> leases;
    for (const auto& [id, a] : r.attempts) {
      if (!a.over()) leases.push_back(id);
    }
    while (!leases.empty() && r.held > r.keep) {
      end_attempt(r, r.attempts.at(leases.back()), entry_verb::revoke, after_end::park, end_cause::gave_way, false,
                  "a gang waited for its slots too long");
      leases.pop_back();
    }
  }
}

void admission::lift_recalls() {
  for (const auto& id : std::exchange(recalled_, {})) {
    auto& r = requests_.at(id);
    r.keep = UINT32_MAX;
    reindex(r);
    send_recall(r);
  }
}

// ---- what can never fit --------------------------------------------------------------------------------------------

/// Slots of all nodes that are registered, or were lost a moment ago.
std::uint32_t admission::possible_slots() const {
  auto slots = ledger_.total_slots();
  for (const auto& [name, n] : lost_nodes_) slots += n.slots;
  return slots;
}

bool admission::may_judge() const {
  if (now_ >= term_began_ + options_.membership_grace) return true;
  if (options_.expected_nodes == 0) return false;
  std::uint32_t in = 0;
  for (const auto& [boot, node] : ledger_.nodes()) in += node.listed;
  return in >= options_.expected_nodes;
}

bool admission::deny_if_never_fits(request_state& r) {
  if (r.final || !may_judge()) return false;
  const auto possible = possible_slots();
  const auto least = r.is_gang() ? r.what.least : std::min(r.what.least, r.what.most);
  if (least <= possible) return false;
  pronounce(r, close_reason::failed,
            {errc::refused,
             fmt::format("needs {} slots at once, the cluster has {} on {} node{}", least, possible,
                         ledger_.nodes().size(), ledger_.nodes().size() == 1 ? "" : "s"),
             r.what.label,
             possible == 0 ? "start a node with slots" : fmt::format("ask for at most {}, or add nodes", possible)});
  return true;
}

void admission::judge_all() {
  std::vector<request_id> waiting;
  for (const auto& [at, id] : unserved_) waiting.push_back(id);
  for (const auto& id : waiting) deny_if_never_fits(requests_.at(id));
}

}  // namespace hydrogen::gang
