#include <hydrogen/gang/queue.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace hydrogen::gang {
namespace {

constexpr duration any_moment = 100ms;

std::string kind_of(const request_state& r) {
  return r.what.app.name + '\n' + r.what.label;
}

/// Requests of one shape fit, or may pass, together or not at all.
std::string shape_of(const request_state& r) {
  const auto& needs = r.what.needs;
  auto text = fmt::format("{}\n{} {} {} {}", kind_of(r), static_cast<int>(r.what.kind), r.need(),
                          static_cast<int>(needs.how), needs.each.memory);
  for (const auto& d : needs.each.devices) text += fmt::format(" {}={}/{}", d.kind, d.count, d.shared_by);
  for (const auto& label : needs.labels) text += '\n' + label;
  return text;
}

}  // namespace

// ---- what waits, holds, runs ---------------------------------------------------------------------------------------

void queue::take_out(request_state& r) {
  auto& m = r.mark;
  if (m.unserved) {
    line_.erase(r.at);
    const auto shape = shapes_.find(m.shape);
    const bool first = shape->second.begin()->second == &r;
    shape->second.erase(r.at);
    if (first) {
      fronts_.erase(r.at);
      if (!shape->second.empty()) fronts_.insert(*shape->second.begin());
    }
    if (shape->second.empty()) shapes_.erase(shape);
    --applications_[m.application].waits;
  }
  if (m.wishing) wishing_.erase(r.at);
  if (m.holding) holding_.erase(r.at);
  if (m.running) running_.erase({m.ends, r.at});
  if (m.running && --priorities_[r.what.priority] == 0) priorities_.erase(r.what.priority);
  m.wishing = m.holding = m.running = false;
}

void queue::put_in(request_state& r, bool open) {
  auto& m = r.mark;
  const auto* live = r.live_attempt();
  const bool unserved = open && (r.is_gang() ? r.attempts.empty() : r.need() > 0);
  if (unserved) {
    if (!m.unserved) m.passed_by = 0;
    m.shape = shape_of(r);
    line_.emplace(r.at, &r);
    auto& shape = shapes_[m.shape];
    if (!shape.empty()) fronts_.erase(shape.begin()->first);
    shape.emplace(r.at, &r);
    fronts_.insert(*shape.begin());
    ++applications_[m.application].waits;
  } else {
    m.head_since = m.hold_from = never;
    if (head_ == &r) head_ = nullptr;
  }
  m.unserved = unserved;
  if (!r.is_gang()) {
    m.wishing = open && !unserved && r.held < std::min(r.what.most, r.keep);
    m.holding = r.held > 0;
    if (m.wishing) wishing_.emplace(r.at, &r);
    if (m.holding) holding_.emplace(r.at, &r);
  } else if (live != nullptr) {
    m.running = true;
    m.kind = kind_of(r);
    m.began = live->begun;
    const auto expected = times_.shorter(m.kind);
    m.ends = expected == duration::max() ? never : m.began + expected;
    running_.emplace(std::pair{m.ends, r.at}, &r);
    ++priorities_[r.what.priority];
  }
}

void queue::update(request_state& r, bool open, time_point now) {
  now_ = now;
  auto& m = r.mark;
  if (m.application.empty()) m.application = r.what.app.name;
  const bool ran = m.running;
  const auto ends = m.ends;
  take_out(r);
  if (!r.is_gang() && open && r.held == 0 && r.keep == 0 && head_ != nullptr && head_ != &r) {
    // Recalled to nothing: directly behind the gang it gave way to.
    if (r.at < head_->at) r.at = {head_->at.below, head_->at.place, r.submitted + 1};
    recalled_.erase(r.what.id);
    to_lift_.emplace(r.what.id, &r);
    r.keep = UINT32_MAX;
  }
  auto& use = applications_[m.application];
  use.held += r.held - m.held;
  m.held = r.held;
  const bool was_unserved = std::exchange(m.unserved, false);
  const auto passed_by = m.passed_by;
  put_in(r, open);
  if (was_unserved) m.passed_by = passed_by;
  if (ran && m.running) {  // it was moved back when it ran longer than expected
    running_.erase({m.ends, r.at});
    m.ends = ends;
    running_.emplace(std::pair{m.ends, r.at}, &r);
  } else if (ran && !r.attempts.empty() && r.attempts.begin()->second.phase == attempt_phase::closing) {
    times_.add(m.kind, now - m.began);
  }
  if (use.held == 0 && use.waits == 0) applications_.erase(m.application);
}

void queue::forget(request_state& r) {
  take_out(r);
  const auto use = applications_.find(r.mark.application);
  if (use != applications_.end()) {
    use->second.held -= r.mark.held;
    if (use->second.held == 0 && use->second.waits == 0) applications_.erase(use);
  }
  r.mark = {};
  recalled_.erase(r.what.id);
  to_lift_.erase(r.what.id);
  if (head_ == &r) head_ = nullptr;
  if (recalled_for_ == &r) recalled_for_ = nullptr;
}

/// Longer than expected: it may be over any moment; from a quarter more on it is likely to take an eighth more, each
/// time.
void queue::overdue() {
  while (!running_.empty() && running_.begin()->first.first <= now_) {
    auto* r = running_.begin()->second;
    running_.erase(running_.begin());
    const auto ran = now_ - r->mark.began;
    const auto late = ran / 5 * 4 > times_.shorter(r->mark.kind);
    r->mark.ends = now_ + std::max(late ? ran / 8 : any_moment, any_moment);
    running_.emplace(std::pair{r->mark.ends, r->at}, r);
  }
}

std::vector<request_state*> queue::waiting(std::size_t most) const {
  std::vector<request_state*> first;
  for (auto at = line_.begin(); at != line_.end() && first.size() < most; ++at) first.push_back(at->second);
  return first;
}

std::size_t queue::waits_of(const std::string& application) const {
  const auto at = applications_.find(application);
  return at == applications_.end() ? 0 : at->second.waits;
}

std::uint32_t queue::held_by(const std::string& application) const {
  const auto at = applications_.find(application);
  return at == applications_.end() ? 0 : at->second.held;
}

std::uint32_t queue::allowed(const request_state& r) const {
  if (options_.application_slots == 0) return UINT32_MAX;
  const auto held = held_by(r.mark.application);
  return held < options_.application_slots ? options_.application_slots - held : 0;
}

bool queue::at_limit(const request_state& r) const {
  return r.need() > allowed(r);
}

std::set<std::string> queue::avoided(const request_state& r) const {
  std::set<std::string> nodes;
  for (const auto& [node, until] : r.avoid) {
    if (now_ < until) nodes.insert(node);
  }
  return nodes;
}

// ---- who is next ---------------------------------------------------------------------------------------------------

queue::step queue::next(time_point now) {
  now_ = now;
  overdue();
  if (!to_lift_.empty()) {
    auto* r = to_lift_.begin()->second;
    to_lift_.erase(to_lift_.begin());
    return ask_back{r, UINT32_MAX};
  }
  request_state* head = nullptr;
  std::uint32_t looked = 0;
  for (const auto& [at, r] : fronts_) {
    if (at_limit(*r)) continue;
    if (head == nullptr) {
      auto served = serve(*r);
      if (served.index() != 0) return served;
      head = r;
      become_head(*r);
      if (recalled_for_ != r && !recalled_.empty()) return lift();
      auto room = make_room(*r);
      if (room.index() != 0) return room;
      if (options_.pass == passing::none) break;
      expect_start(*r);
    } else {
      if (++looked > options_.looks) break;
      auto passed = pass(*r, *head);
      if (passed.index() == 0) continue;
      if (++head->mark.passed_by >= options_.most_passes) head->mark.hold_from = std::min(head->mark.hold_from, now_);
      return passed;
    }
  }
  if (head == nullptr) {
    head_ = nullptr;
    if (!recalled_.empty()) return lift();
  }
  return grant_wishes(head);
}

void queue::become_head(request_state& r) {
  head_ = &r;
  auto& m = r.mark;
  if (m.head_since == never || now_ >= m.hold_from + options_.gate_deadline) {
    m.head_since = now_;
    m.hold_from = now_ + options_.ageing;
    m.passed_by = 0;
  }
}

bool queue::holds(const request_state& head, time_point now) const {
  return options_.pass == passing::safely && now >= head.mark.hold_from;
}

time_point queue::next_wakeup() const {
  if (head_ == nullptr || head_->mark.hold_from == never) return never;
  return head_->mark.hold_from + options_.gate_deadline;
}

/// A gang takes more than its least only of what nobody else waits for.
std::uint32_t queue::wanted_by_others(const request_state& r) const {
  std::uint64_t wanted = 0;
  std::uint32_t looked = 0;
  for (auto at = line_.begin(); at != line_.end() && looked < options_.looks; ++at, ++looked) {
    if (at->second != &r) wanted += at->second->need();
    if (wanted >= account_.total_free()) break;
  }
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(wanted, UINT32_MAX));
}

queue::step queue::serve(request_state& r, std::uint32_t most) const {
  const auto need = r.need();
  if (now_ < r.not_before || !account_.fits(need, r.what.needs)) return {};
  most = std::min(most, allowed(r));
  if (!r.is_gang()) {
    auto lease = account_.place_lease(std::min(most, r.what.most - r.held), r.what.needs, avoided(r));
    if (lease.slots == 0) return {};
    return start{&r, {std::move(lease)}};
  }
  auto width = need;
  if (r.what.most > need) {
    const auto others = wanted_by_others(r);
    const auto free = account_.total_free();
    const auto more = free > need + std::uint64_t{others} ? free - need - others : 0;
    width = std::min({r.what.most, need + more, std::max(most, need)});
  }
  auto where = account_.place_gang(need, width, r.what.needs, avoided(r));
  if (where.empty()) return {};
  return start{&r, std::move(where)};
}

/// On nodes that the head cannot use.
queue::step queue::serve_elsewhere(request_state& r, const request_state& head) const {
  const auto usable = [&](const ledger_node& node) { return node.size.room(head.what.needs) > 0; };
  if (r.is_gang()) {
    auto where = account_.place_gang(r.need(), r.need(), r.what.needs, avoided(r), usable);
    if (where.empty()) return {};
    return start{&r, std::move(where)};
  }
  auto lease = account_.place_lease(std::min(r.what.most - r.held, allowed(r)), r.what.needs, avoided(r), usable);
  if (lease.slots == 0) return {};
  return start{&r, {std::move(lease)}};
}

queue::step queue::pass(request_state& r, const request_state& head) const {
  if (options_.pass == passing::freely) return serve(r);
  const auto need = r.need();
  if (now_ < r.not_before || need > account_.total_free()) return {};
  if (!holds(head, now_)) {
    if (!r.is_gang()) {
      if (!room_comes_) return serve(r);
    } else if (const auto expected = times_.longer(kind_of(r));
               expected < duration::max() / 2 && start_ != never &&
               expected <= std::min(start_, head.mark.hold_from) - now_) {
      auto served = serve(r, need);
      if (served.index() != 0) return served;
    }
  }
  if (!head.what.needs.any_slot()) return serve_elsewhere(r, head);
  if (need > spare_) return {};
  return serve(r, static_cast<std::uint32_t>(std::min<std::uint64_t>(spare_, UINT32_MAX)));
}

/// When the head is expected to have room, if those that run are over when they are expected to be.
void queue::expect_start(request_state& head) {
  const auto need = head.need();
  outlook coming(account_, head.what.needs);
  for (const auto& [at, stage] : holding_) add_leases(coming, *stage, recallable(*stage, head));
  start_ = never;
  spare_ = 0;
  room_comes_ = coming.fits(need);
  if (room_comes_) {
    start_ = now_;
    spare_ = coming.room() - need;
    return;
  }
  for (const auto& [end, r] : running_) {
    if (end.first == never) return;
    coming.add(*r->live_attempt(), r->what.needs.each);
    if (!coming.fits(need)) continue;
    start_ = end.first;
    spare_ = coming.room() - need;
    head.mark.hold_from = std::min(head.mark.hold_from, start_);
    return;
  }
}

/// Wishes beyond the least: only of what the head has no use for now.
queue::step queue::grant_wishes(const request_state* head) const {
  if (account_.total_free() == 0) return {};
  if (head != nullptr && options_.pass != passing::freely) {
    if (options_.pass == passing::none || room_comes_ || holds(*head, now_)) return {};
  }
  for (const auto& [at, r] : wishing_) {
    if (now_ < r->not_before) continue;
    const auto most = std::min(r->what.most - r->held, allowed(*r));
    auto lease = account_.place_lease(most, r->what.needs, avoided(*r));
    if (lease.slots > 0) return start{r, {std::move(lease)}};
  }
  return {};
}

}  // namespace hydrogen::gang
