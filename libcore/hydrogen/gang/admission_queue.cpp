// What the queue says is done; what can never fit.

#include <hydrogen/gang/admission.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace hydrogen::gang {

/// Tells the queue what a request is now.
void admission::reindex(request_state& r) {
  const bool open = !r.final && r.confirmed && !r.parked && !r.requeuing;
  queue_.update(r, open, now_);
  if (now_ < r.not_before) wakes_.set({wake_kind::request, r.what.id, {}, {}}, r.not_before);
  queue_changed_ = true;
}

void admission::avoid(request_state& r, const std::string& node) {
  auto& until = r.avoid[node];
  until = std::max(until, now_ + options_.avoid_for);
}

void admission::schedule() {
  queue_changed_ = false;
  while (!is_short()) {
    const auto step = queue_.next(now_);
    if (const auto* start = std::get_if<queue::start>(&step)) {
      carry_out(*start);
    } else if (const auto* back = std::get_if<queue::ask_back>(&step)) {
      carry_out(*back);
    } else if (const auto* evict = std::get_if<queue::evict>(&step)) {
      carry_out(*evict);
    } else if (auto* head = queue_.head(); head == nullptr || !deny_if_never_fits(requests_.at(head->what.id))) {
      break;
    }
  }
  wakes_.set({wake_kind::queue, {}, {}, {}}, is_short() ? never : queue_.next_wakeup());
  if (queue_.waits() > 0) wake_by({wake_kind::reasons, {}, {}, {}}, now_ + options_.retry);
  queue_changed_ = false;
}

void admission::carry_out(const queue::start& s) {
  auto& r = *s.who;
  start_attempt(r, s.where);
  if (!r.told_reason.empty() && (r.is_gang() || r.need() == 0)) {
    r.told_reason.clear();
    tell_job(r.what.id.run, admitted{term_, r.what.id, {}});
  }
}

void admission::carry_out(const queue::ask_back& s) {
  auto& r = *s.who;
  r.keep = s.keep;
  r.recall_until = s.keep == UINT32_MAX ? never : now_ + options_.queue.gate_deadline;
  reindex(r);
  wakes_.set({wake_kind::request, r.what.id, {}, {}}, r.recall_until);
  const auto count = r.held > r.keep ? r.held - r.keep : 0;
  notify(r.what.id.run, {noted_kind::recall, r.what.id, {}, {}},
         recall{term_, r.what.id, count, std::min(r.keep, r.what.most), ++r.recalls});
}

void admission::carry_out(const queue::evict& s) {
  for (auto* r : s.who) {
    auto& a = r->attempts.begin()->second;
    end_attempt(*r, a, a.before_go() ? entry_verb::abort : entry_verb::revoke, after_end::park, end_cause::gave_way,
                false,
                fmt::format("it gives way to {}, which has priority {}", s.waits->what.label, s.waits->what.priority));
  }
}

void admission::wake_request(request_state& r) {
  queue_changed_ = true;  // after a refusal it may be placed again
  if (r.held <= r.keep || r.final) return;
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

// ---- what can never fit --------------------------------------------------------------------------------------------

/// Slots of this kind on all nodes that are registered, or were lost a moment ago; of one node, if all must be there.
std::uint64_t admission::possible(const demand& needs) const {
  std::uint64_t slots = 0;
  const auto count = [&](const node_size& size) {
    const std::uint64_t room = size.room(needs);
    slots = needs.how == placement::one_node ? std::max(slots, room) : slots + room;
  };
  if (needs.any_slot()) {
    slots = ledger_.total_slots();
  } else {
    for (const auto& [boot, node] : ledger_.nodes()) count(node.size);
  }
  for (const auto& [name, n] : lost_nodes_) count(n.size);
  return slots;
}

bool admission::may_judge() const {
  if (now_ >= term_began_ + options_.membership_grace) return true;
  return options_.expected_nodes > 0 && ledger_.listed() >= options_.expected_nodes;
}

bool admission::deny_if_never_fits(request_state& r) {
  if (r.final) return false;
  const auto least = r.is_gang() ? r.what.least : std::min(r.what.least, r.what.most);
  const auto most = options_.queue.application_slots;
  if (most > 0 && least > most) {
    pronounce(r, close_reason::failed,
              {errc::refused, fmt::format("needs {} slots at once, one application may hold {}", least, most),
               r.what.label, fmt::format("ask for at most {}", most)});
    return true;
  }
  const auto room = may_judge() ? possible(r.what.needs) : least;
  if (least <= room) return false;
  const auto nodes = ledger_.nodes().size();
  const auto has = r.what.needs.any_slot()
                       ? fmt::format("the cluster has {} on {} node{}", room, nodes, nodes == 1 ? "" : "s")
                       : fmt::format("the cluster has room for {}", room);
  pronounce(r, close_reason::failed,
            {errc::refused,
             fmt::format("needs {} slot{}{} at once, {}", least, least == 1 ? "" : "s", words(r.what.needs), has),
             r.what.label,
             room == 0 ? r.what.needs.any_slot() ? "start a node with slots" : "start a node that has them"
                       : fmt::format("ask for at most {}, or add nodes", room)});
  return true;
}

void admission::judge_all() {
  for (auto* r : queue_.waiting(SIZE_MAX)) deny_if_never_fits(*r);
}

}  // namespace hydrogen::gang
