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
  return missing_error({"join", waited, std::move(reports)});
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
