#include <hydrogen/comm/collective/shared.hpp>
#include <hydrogen/comm/rendezvous_meeting.hpp>

#include <algorithm>

namespace hydrogen::comm {
namespace {

constexpr std::size_t max_ranks = 4096;
constexpr std::size_t max_history = 4096;

/// The area of a gang did not come: of the ranks, only those of rank 0's process are known to be missing.
error missing_without_area(std::uint32_t rank, const gang_table& members, duration waited) {
  std::vector<rank_report> reports{{.rank = rank, .arrived = true}};
  for (const auto& m : members) {
    if (same_process(m, members[0])) reports.push_back({.rank = m.rank, .node = m.node});
  }
  return missing_error("join", waited, reports);
}

error other_size(std::size_t one, std::size_t other) {
  return {errc::mismatch,
          "the ranks were told different sizes of the gang: " + std::to_string(one) + " and " + std::to_string(other),
          {},
          {}};
}

}  // namespace

std::string to_string(const gang_token& t) {
  return to_string(t.gang) + " attempt " + to_string(t.attempt);
}

rendezvous::rendezvous(std::optional<secret> key, rendezvous_options options)
    : key_(std::move(key)), options_(options), counters_(std::make_shared<link_counters>()) {
  if (!key_) return;
  neighbours_ = std::make_unique<shm::neighbours>(*key_, options_.share_memory, options_.table,
                                                  [this](boot_id who, const error& why) { process_lost(who, why); });
}
rendezvous::~rendezvous() = default;

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

rendezvous::seen& rendezvous::history(const request_id& gang) {
  const auto [at, is_new] = history_.try_emplace(gang);
  if (is_new) {
    history_order_.push_back(gang);
    if (history_order_.size() > max_history) {
      history_.erase(history_order_.front());
      history_order_.pop_front();
    }
  }
  return at->second;
}

void rendezvous::expire(time_point at) {
  std::size_t count = 0;
  for (auto it = meetings_.begin(); it != meetings_.end();) {
    auto& m = *it->second;
    counters_->expired +=
        std::erase_if(m.sockets, [&](const auto& s) { return at - s.second.since > options_.park_time; });
    count += m.sockets.size();
    // Made by a handshake alone, and nobody came.
    it = m.sockets.empty() && m.joined.empty() ? meetings_.erase(it) : std::next(it);
  }
  while (count > 0 && count >= options_.max_parked) {
    meeting* in = nullptr;
    pair which;
    time_point oldest = never;
    for (auto& [token, m] : meetings_) {
      for (auto& [p, socket] : m->sockets) {
        if (socket.since >= oldest) continue;
        oldest = socket.since;
        in = m.get();
        which = p;
      }
    }
    if (in == nullptr) return;
    in->sockets.erase(which);
    ++counters_->expired;
    --count;
  }
}

void rendezvous::accepted(unique_fd socket, hello from) {
  if (from.purpose == link_purpose::memory && neighbours_) return neighbours_->accepted(std::move(socket), from);
  const auto to = decode<link_token>(from.token, "token of a gang link");
  if (!to || from.purpose != link_purpose::gang || !to->token.attempt || to->from == to->to) {
    ++counters_->refused;
    return;
  }
  std::shared_ptr<meeting> m;
  {
    std::lock_guard lock(mutex_);
    const auto at = now();
    expire(at);
    auto& known = history(to->token.gang);
    if (to->token.attempt < known.newest || to->token.attempt <= known.forgotten) {
      ++counters_->strays;
      return;
    }
    auto& place = meetings_[to->token];
    if (!place) place = std::make_shared<meeting>();
    m = place;
    if (m->gave_up.contains(to->to)) {
      ++counters_->strays;
      return;
    }
    if (!m->sockets.try_emplace({to->from, to->to}, meeting::parked{std::move(socket), from.from, at}).second) {
      ++counters_->refused;
      return;
    }
  }
  m->wake();
}

void rendezvous::forget(const gang_token& token) {
  std::vector<std::shared_ptr<meeting>> over;
  {
    std::lock_guard lock(mutex_);
    auto& known = history(token.gang);
    known.forgotten = std::max(known.forgotten, token.attempt);
    known.newest = std::max(known.newest, token.attempt);
    for (auto it = meetings_.begin(); it != meetings_.end();) {
      if (it->first.gang != token.gang || it->first.attempt > token.attempt) {
        ++it;
        continue;
      }
      it->second->closed = true;
      it->second->sockets.clear();
      over.push_back(std::move(it->second));
      it = meetings_.erase(it);
    }
  }
  for (auto& m : over) m->wake();
}

std::size_t rendezvous::parked() const {
  std::lock_guard lock(mutex_);
  std::size_t count = 0;
  for (const auto& [token, m] : meetings_) count += m->sockets.size();
  return count;
}

expected<std::shared_ptr<rendezvous::meeting>> rendezvous::enter(const gang_token& token, std::uint32_t rank,
                                                                 const gang_table& members, std::size_t local) {
  const auto size = members.size();
  std::lock_guard lock(mutex_);
  auto& known = history(token.gang);
  const auto where = [&] { return "gang " + to_string(token); };
  if (token.attempt <= known.forgotten) return fail(errc::refused, "this attempt of the gang is over", where());
  if (token.attempt < known.newest) {
    return fail(errc::refused, "a newer attempt of the gang is known: " + to_string(known.newest), where());
  }
  if (known.newest < token.attempt) {
    known.newest = token.attempt;
    // Sockets parked for older attempts will not be fetched any more.
    for (auto& [other, m] : meetings_) {
      if (other.gang == token.gang && other.attempt < token.attempt) m->sockets.clear();
    }
  }
  auto& place = meetings_[token];
  if (!place) place = std::make_shared<meeting>();
  auto m = place;
  if (!m->joined.insert(rank).second) {
    return fail(errc::refused, "rank " + std::to_string(rank) + " has already joined", where());
  }
  m->local = local;
  if (local == size) {
    if (!m->in_process) {
      m->in_process = std::make_shared<area>(static_cast<std::uint32_t>(size));
      m->in_process->use(options_.table);
      m->in_process->tell_members(members);
    }
    if (m->in_process->size() != size) {
      auto why = other_size(m->in_process->size(), size);
      why.where = where();
      return unexpected(std::move(why));
    }
  }
  return m;
}

/// A rank needs nothing more from the meeting; after the last one of this process the token is used up.
void rendezvous::leave(const gang_token& token, meeting& m) {
  std::lock_guard lock(mutex_);
  if (++m.done < m.local || m.closed) return;
  auto& known = history(token.gang);
  known.forgotten = std::max(known.forgotten, token.attempt);
  m.closed = true;
  m.sockets.clear();
  meetings_.erase(token);
}

expected<std::unique_ptr<group>> rendezvous::join(const gang_token& token, std::uint32_t rank,
                                                  const gang_table& members, abort_word& abort, time_point deadline) {
  auto met = meet(token, rank, members, abort, deadline);
  if (!met) return unexpected(std::move(met.error()));
  if (met->how != arrival::early) met->with->opener()();
  const auto left = deadline - now();
  if (auto ok = met->with->await_start({left, left, {}, {}}, abort); !ok) {
    return unexpected(at_gang(token, std::move(ok.error()), abort));
  }
  return std::move(met->with);
}

expected<met_rank> rendezvous::meet(const gang_token& token, std::uint32_t rank, const gang_table& members,
                                    abort_word& abort, time_point deadline) {
  const auto wrong = [&](std::string what, std::string hint = {}) {
    return fail(errc::bad_input, std::move(what), "gang " + to_string(token), std::move(hint));
  };
  if (!token.attempt) return wrong("a gang without an attempt");
  if (members.empty() || members.size() > max_ranks) {
    return wrong("a gang of " + std::to_string(members.size()) + " ranks", "1 to 4096 are possible");
  }
  if (rank >= members.size()) {
    return wrong("rank " + std::to_string(rank) + " of " + std::to_string(members.size()));
  }
  if (!members.is_in_order()) return wrong("the member table is not in the order of ranks");
  std::vector<bool> local(members.is_one_process() ? 0 : members.size());
  auto local_count = members.is_one_process() ? members.size() : 0;
  for (std::uint32_t r = 0; r < local.size(); ++r) {
    local[r] = same_process(members[r], members[rank]);
    local_count += local[r] ? 1 : 0;
    if (!local[r] && (!key_ || members[r].endpoint.empty())) {
      return wrong(name_of(members[r]) + " is in another process, and " +
                   (key_ ? "has no endpoint" : "this process has no cluster secret to reach it"));
    }
  }
  auto m = enter(token, rank, members, local_count);
  if (!m) return unexpected(std::move(m.error()));
  auto& meet = **m;
  const auto size = static_cast<std::uint32_t>(members.size());
  if (local_count == size) {
    auto in_process = meet.in_process;
    leave(token, meet);
    if (size == 1) return met_rank{std::make_unique<group>(0, 1, nullptr), arrival::completing};
    return come_to(std::move(in_process), token, rank, members, abort);
  }
  if (members.is_one_host()) {
    const auto began = now();
    auto on_host = meet_on_host(token, rank, members, meet, abort, deadline);
    if (!on_host) {
      leave(token, meet);
      auto why = std::move(on_host.error());
      if (why.code == errc::timed_out) why = missing_without_area(rank, members, now() - began);
      return unexpected(at_gang(token, std::move(why), abort));
    }
    if (*on_host) {
      leave(token, meet);
      return come_to(std::move(*on_host), token, rank, members, abort);
    }
  }
  return meet_linked(token, rank, members, local, meet, abort, deadline);
}

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
  for (;;) {
    // Looked at before the last look for the group: the first rank may have begun it and gone on, or left.
    auto why = part.whole->absence_of(part.ranks[0], beginning);
    // Of the others only death counts: who has left may have been through.
    for (const auto r : part.ranks) {
      if (why.code == errc::none) why = part.whole->death_of(r, beginning);
    }
    if (why.code == errc::none) why = how.also();
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
      return fail(errc::timed_out,
                  "rank " + std::to_string(part.ranks[0]) + " has not begun the group of " + rank_list(part.ranks));
    }
  }
}

expected<met_rank> rendezvous::come_to(std::shared_ptr<area> where, const gang_token& token, std::uint32_t rank,
                                       const gang_table& members, abort_word& abort) {
  auto ties = std::make_shared<shared_ties>();
  ties->whole = where;
  ties->rank = rank;
  ties->reads_memory = options_.read_memory;
  ties->make_part = [this, token, rank, members](const part_of& part, area_wait& how) {
    return meet_part(token, rank, members, part, how);
  };
  // From here on it leaves the area by itself.
  auto engine = std::make_unique<shared_engine>(std::move(ties), abort);
  const auto last = where->come(rank, join_plan(members.hash()));
  if (!last) return unexpected(at_gang(token, std::move(last.error()), abort));
  return met_rank{std::make_unique<group>(rank, where->size(), std::move(engine)),
                  *last ? arrival::completing : arrival::early};
}

}  // namespace hydrogen::comm
