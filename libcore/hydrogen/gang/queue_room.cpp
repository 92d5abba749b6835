// Room for the request in front: recalls, evictions.

#include <hydrogen/gang/queue.hpp>

#include <algorithm>

namespace hydrogen::gang {

/// A gang may take all of a stage; a stage only what others have beyond their least.
std::uint32_t queue::recallable(const request_state& stage, const request_state& head) const {
  if (stage.final || &stage == &head || stage.at.below < head.at.below) return 0;
  const auto floor = head.is_gang() ? 0 : std::min(stage.what.least, stage.what.most);
  return stage.held > floor ? stage.held - floor : 0;
}

/// Which leases a stage gives back is its own choice, so where that matters all of them count or none.
void queue::add_leases(outlook& coming, const request_state& stage, std::uint32_t slots) const {
  if (slots == 0) return;
  if (coming.anywhere()) return coming.add(slots);
  if (slots < stage.held) return;
  for (const auto& [id, lease] : stage.attempts) {
    if (!lease.over()) coming.add(lease, stage.what.needs.each);
  }
}

/// Recalls what the head lacks, only if that suffices: a stage that gives slots back in vain loses time for nothing.
queue::step queue::make_room(request_state& head) {
  const auto wanted = head.need();
  outlook coming(account_, head.what.needs);
  for (const auto& [id, r] : recalled_) add_leases(coming, *r, r->held > r->keep ? r->held - r->keep : 0);
  if (coming.fits(wanted)) return {};
  request_state* first = nullptr;
  std::uint32_t keep = 0;
  for (auto at = holding_.rbegin(); at != holding_.rend() && !coming.fits(wanted); ++at) {
    auto& stage = *at->second;
    const auto asked = stage.held > stage.keep ? stage.held - stage.keep : 0;
    auto take = recallable(stage, head);
    take = take > asked ? take - asked : 0;
    if (take == 0) continue;
    if (coming.anywhere()) {
      take = static_cast<std::uint32_t>(std::min<std::uint64_t>(take, wanted - coming.room()));
      coming.add(take);
    } else {
      const auto before = coming.room();
      if (asked == 0) add_leases(coming, stage, take);
      if (coming.room() == before) continue;
    }
    if (first == nullptr) {
      first = &stage;
      keep = stage.held - asked - take;
    }
  }
  if (!coming.fits(wanted)) return evict_for(head, coming);
  if (first == nullptr) return {};
  recalled_.emplace(first->what.id, first);
  recalled_for_ = &head;
  return ask_back{first, keep};
}

std::uint32_t queue::recalled() const {
  std::uint32_t slots = 0;
  for (const auto& [id, r] : recalled_) slots += r->held > r->keep ? r->held - r->keep : 0;
  return slots;
}

queue::step queue::lift() {
  auto* r = recalled_.begin()->second;
  recalled_.erase(recalled_.begin());
  return ask_back{r, UINT32_MAX};
}

queue::step queue::evict_for(const request_state& head, const outlook& coming) const {
  if (!options_.evict || head.retried || priorities_.empty() || priorities_.begin()->first >= head.what.priority) {
    return {};
  }
  std::vector<request_state*> lower;
  for (const auto& [end, r] : running_) {
    if (r->what.priority < head.what.priority) lower.push_back(r);
  }
  std::sort(lower.begin(), lower.end(), [](const request_state* a, const request_state* b) {
    if (a->what.priority != b->what.priority) return a->what.priority < b->what.priority;
    return a->attempts.begin()->first > b->attempts.begin()->first;
  });
  const auto wanted = head.need();
  std::vector<request_state*> chosen;
  auto with = coming;
  for (auto* r : lower) {
    const auto before = with.room();
    with.add(*r->live_attempt(), r->what.needs.each);
    if (with.room() > before || !with.anywhere()) chosen.push_back(r);
    if (with.fits(wanted)) break;
  }
  if (!with.fits(wanted)) return {};
  // Without those that the later ones made needless, the most important first.
  for (std::size_t i = chosen.size(); i-- > 0;) {
    auto without = coming;
    for (const auto* r : chosen) {
      if (r != chosen[i]) without.add(*r->live_attempt(), r->what.needs.each);
    }
    if (without.fits(wanted)) chosen.erase(chosen.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return evict{std::move(chosen), &head};
}

}  // namespace hydrogen::gang
