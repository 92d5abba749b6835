// Ranks that meet in memory of their host: the area of a gang, those of its groups, and who hears that one is lost.

#include <hydrogen/comm/rendezvous_meeting.hpp>

#include <algorithm>

namespace hydrogen::comm {

bool rendezvous::is_ready(const gang_token& token, std::uint32_t rank, const gang_table& members) {
  if (!neighbours_ || rank >= members.size() || members.is_one_process() || !members.is_one_host()) return false;
  if (same_process(members[0], members[rank])) return neighbours_->own() != nullptr;
  const auto there = neighbours_->attached(members[0].executor);
  return there && there->has(token);
}

expected<std::shared_ptr<area>> rendezvous::meet_on_host(const gang_token& token, std::uint32_t rank,
                                                         const gang_table& members, meeting& meet, abort_word& abort,
                                                         time_point deadline) {
  const auto& leader = members[0];
  expected<std::shared_ptr<area>> found;
  if (same_process(leader, members[rank])) {
    const auto mine = neighbours_->own();
    if (!mine) return std::shared_ptr<area>();
    std::lock_guard lock(mutex_);
    if (!meet.led) {
      auto made = mine->publish(token, static_cast<std::uint32_t>(members.size()));
      if (!made || !*made) return made;
      meet.led = std::move(*made);
      meet.led->tell_members(members);
      remember(meet.led, members, {}, true);
    }
    if (meet.led->size() != members.size()) return unexpected(other_size(meet.led->size(), members.size()));
    found = meet.led;
  } else {
    auto there = neighbours_->attach(leader.endpoint, leader.executor, members[rank].executor, abort, deadline);
    if (!there) {
      auto why = std::move(there.error());
      if (!abort.is_set()) why.what = name_of(leader) + " cannot be reached: " + why.what;
      return unexpected(std::move(why));
    }
    if (!*there) return std::shared_ptr<area>();
    found = (*there)->find(token, static_cast<std::uint32_t>(members.size()), abort, deadline);
    if (found && *found) {
      (*found)->tell_members(members);
      std::lock_guard lock(mutex_);
      remember(*found, members, {}, false);
    }
  }
  return found;
}

/// So that its ranks are told when one of their processes dies.
void rendezvous::remember(const std::shared_ptr<area>& where, const gang_table& members,
                          std::span<const std::uint32_t> ranks, bool led) {
  std::erase_if(areas_, [](const auto& a) { return a.where.expired(); });
  areas_.push_back({where, members, {ranks.begin(), ranks.end()}, led});
}

expected<std::shared_ptr<area>> rendezvous::meet_part(const gang_token& token, std::uint32_t rank,
                                                      const gang_table& members, const part_of& part, area_wait& how) {
  if (!part.whole->is_on_host()) return area::part(part);
  auto its = token;
  its.part = part.group;
  const auto size = static_cast<std::uint32_t>(part.ranks.size());
  const auto& leader = members[part.ranks[0]];
  // The process of the part's first rank makes it; who has not made its own memory yet makes it now.
  if (same_process(leader, members[rank])) {
    const auto mine = neighbours_->own();
    if (!mine) {
      return fail(errc::refused, "this process shares no memory, so it cannot begin a group of ranks of its host");
    }
    std::lock_guard lock(mutex_);
    auto made = mine->publish(its, size, part);
    if (made) remember(*made, members, part.ranks, true);
    return made;
  }
  const auto beginning = "the beginning of a group of " + rank_list(part.ranks);
  // Who is lost is not dialled: a process that hangs would take until the deadline not to answer.
  if (auto why = part.whole->death_of(part.ranks[0], beginning); why.code != errc::none) {
    return unexpected(std::move(why));
  }
  auto there =
      neighbours_->attach(leader.endpoint, leader.executor, members[rank].executor, how.abort, how.deadline.at());
  if (!there) {
    auto why = std::move(there.error());
    if (!how.abort.is_set()) why.what = name_of(leader) + " cannot be reached: " + why.what;
    return unexpected(std::move(why));
  }
  if (!*there) {
    return fail(errc::refused, name_of(leader) + " shares no memory, so it cannot begin a group of its host");
  }
  area::mark waits(*part.whole, rank);
  waits.set(part.group, part.ranks[0], false);
  for (;;) {
    // Looked at before the last look for the group: the first rank may have begun it and gone on, or left.
    auto why = part.whole->absence_of(part.ranks[0], beginning);
    // Of the others only death counts: who has left may have been through.
    for (const auto r : part.ranks) {
      if (why.code == errc::none) why = part.whole->death_of(r, beginning);
    }
    if (why.code == errc::none) why = how.also(how);
    // In short turns: the first rank may come to wait for this one elsewhere.
    const auto until = why.code == errc::none ? std::min(how.deadline.at(), now() + 20ms) : time_point{};
    auto found = (*there)->find(its, size, how.abort, until, true);
    if (found) {
      (*found)->belongs_to(part);
      std::lock_guard lock(mutex_);
      remember(*found, members, part.ranks, false);
    }
    if (found || found.error().code != errc::timed_out) return found;
    if (why.code != errc::none) return unexpected(std::move(why));
    if (now() >= how.deadline.at()) {
      const auto first = part.ranks[0];
      const auto waits = part.whole->known_to_wait();
      if (!waits.contains(first)) {
        return fail(errc::timed_out,
                    "rank " + std::to_string(first) + " has not begun the group of " + rank_list(part.ranks));
      }
      return unexpected(overdue_error(
          rank, {beginning, how.deadline.timeout(), {{.rank = first, .node = members[first].node}}}, waits));
    }
  }
}

void rendezvous::process_lost(boot_id who, const error& why) {
  std::vector<std::pair<std::shared_ptr<area>, std::uint32_t>> ranks;
  {
    std::lock_guard lock(mutex_);
    for (const auto& a : areas_) {
      const auto where = a.where.lock();
      if (why.code != errc::none && !a.led) continue;  // it may be in there, and write
      for (std::uint32_t r = 0; where && r < where->size(); ++r) {
        if (a.members[a.ranks.empty() ? r : a.ranks[r]].executor == who) ranks.emplace_back(where, r);
      }
    }
  }
  for (const auto& [where, rank] : ranks) {
    if (why.code == errc::none) {
      where->lost(rank);
      continue;
    }
    auto its = why;
    its.what = rank_on_node(where->name(rank), where->node_of(rank)) + " " + its.what;
    where->break_for_all(rank, its);
    where->lost(rank);
  }
}

}  // namespace hydrogen::comm
