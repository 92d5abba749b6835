// The ranks of a gang that has no area in common: each has a link to each.

#include <hydrogen/comm/collective/hierarchical.hpp>
#include <hydrogen/comm/dial.hpp>
#include <hydrogen/comm/rendezvous_meeting.hpp>
#include <hydrogen/comm/shm/link.hpp>
#include <hydrogen/comm/tcp/link.hpp>

#include <sys/socket.h>

#include <algorithm>

namespace hydrogen::comm {
namespace {

constexpr auto untold_turn = std::chrono::milliseconds(5);

/// Sent as soon as a link is there, so that a join that fails can tell who came.
void announce(link& l, const gang_token& token, const call_plan& plan) {
  frame_header h;
  h.fence = fence_of(token);
  h.plan = plan.hash;
  h.kind = frame_kind::describe;
  const auto text = plan.text();
  const auto view = as_byte_view(text);
  h.length = view.size();
  l.send_copy(h, {view.begin(), view.end()});
  // A link that is gone shows it when it is read.
  (void)l.flush();
}

bool is_of_host(int socket) {
  int domain = 0;
  socklen_t size = sizeof domain;
  return ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

/// For people, as one rank sees it.
const char* medium_of(const mesh& links) {
  if (!links.has(link_medium::socket)) return "host memory";
  return links.has(link_medium::host_memory) ? "host memory+TCP" : "TCP";
}

}  // namespace

expected<std::unique_ptr<link>> rendezvous::dial_rank(const gang_token& token, const gang_member& self,
                                                      const gang_member& peer, std::uint32_t neighbours,
                                                      abort_word& abort, time_point deadline) {
  hello mine;
  mine.purpose = link_purpose::gang;
  mine.from = self.executor;
  mine.to = peer.executor;
  mine.who = name_of(self) + " of gang " + to_string(token);
  mine.token = encode(link_token{token, self.rank, peer.rank});
  const bool near = options_.link_memory && host_of(self) == host_of(peer);
  auto socket = dial(peer.endpoint, *key_, mine, deadline, &abort, near ? route::nearest : route::as_written);
  if (!socket) {
    auto e = std::move(socket.error());
    if (!abort.is_set()) e.what = name_of(peer) + " cannot be reached: " + e.what;
    return unexpected(std::move(e));
  }
  return link_over(std::move(*socket), true, neighbours);
}

std::unique_ptr<link> rendezvous::link_over(unique_fd socket, bool dialled, std::uint32_t neighbours) const {
  // Both sides see of which kind it is. Behind a tunnel it is TCP.
  if (!is_of_host(socket.get())) return std::make_unique<tcp::link>(std::move(socket));
  if (dialled) return shm::link::offer(std::move(socket), shm::link::ring_size_for(neighbours));
  return shm::link::accept(std::move(socket), options_.link_memory);
}

expected<std::uint32_t> rendezvous::wait_for(meeting& m, const gang_table& members, std::uint32_t rank,
                                             const std::vector<std::unique_ptr<link>>& links, unique_fd& socket,
                                             abort_word& abort, time_point deadline) {
  for (;;) {
    const auto seen = m.signal.load();
    if (abort.is_set()) return unexpected(abort.reason());
    {
      std::lock_guard lock(mutex_);
      if (m.closed) return fail(errc::refused, "this attempt of the gang is over");
      for (std::uint32_t r = rank + 1; r < members.size(); ++r) {
        if (links[r]) continue;
        const auto at = m.sockets.find({r, rank});
        if (at == m.sockets.end()) continue;
        auto parked = std::move(at->second);
        m.sockets.erase(at);
        if (parked.from == members[r].executor) {
          socket = std::move(parked.socket);
          return r;
        }
        // Another incarnation speaks for this rank.
        ++counters_->strays;
      }
    }
    if (!futex_wait(m.signal, seen, deadline)) return rank;
  }
}

expected<met_rank> rendezvous::meet_linked(const gang_token& token, std::uint32_t rank, const gang_table& members,
                                           const std::vector<bool>& local, meeting& meet, abort_word& abort,
                                           time_point deadline) {
  const auto began = now();
  const auto size = static_cast<std::uint32_t>(members.size());
  auto self = waker::make();
  if (!self) return unexpected(std::move(self.error()));
  const auto plan = join_plan(members.hash());

  mesh::options options;
  options.token = token;
  options.rank = rank;
  options.self = *self;
  options.counters = counters_;
  std::uint32_t neighbours = 0;
  for (const auto& m : members) {
    options.nodes.push_back(m.node);
    neighbours += host_of(m) == host_of(members[rank]) ? 1 : 0;
  }
  options.wait = patience_for(neighbours);

  std::vector<std::unique_ptr<link>> links(size);
  error why{errc::none, {}, {}, {}};
  bool late = false;
  auto wake = abort.on_abort([&meet] { meet.wake(); });
  std::uint32_t awaited = 0;
  for (std::uint32_t r = 0; r < size && why.code == errc::none; ++r) {
    if (r == rank) continue;
    if (local[r]) {
      std::lock_guard lock(mutex_);
      links[r] = std::make_unique<inproc::link>(meet.channel(rank, r), meet.channel(r, rank), *self);
    } else if (r > rank) {
      ++awaited;
    } else if (auto l = dial_rank(token, members[rank], members[r], neighbours, abort, deadline); l) {
      links[r] = std::move(*l);
    } else {
      why = std::move(l.error());
    }
    if (links[r]) announce(*links[r], token, plan);
  }
  // In the order in which they come, so that everyone who is here learns that this rank is.
  while (awaited > 0 && why.code == errc::none && !late) {
    // What follows a handshake may still be on its way, and this rank cannot say before that it is here.
    bool untold = false;
    for (const auto& l : links) {
      if (!l || l->fd() < 0 || l->idle()) continue;
      untold |= l->flush() && !l->idle();
    }
    unique_fd socket;
    const auto turn = untold ? std::min(deadline, now() + untold_turn) : deadline;
    auto r = wait_for(meet, members, rank, links, socket, abort, turn);
    if (!r) {
      why = std::move(r.error());
    } else if (*r == rank) {
      late = now() >= deadline;
    } else {
      links[*r] = link_over(std::move(socket), false, neighbours);
      announce(*links[*r], token, plan);
      --awaited;
    }
  }
  wake.reset();
  auto all = std::make_unique<mesh>(std::move(options), std::move(links), abort);
  if (late || why.code != errc::none) {
    why = all->fail_join(plan, std::move(why), now() - began);
    std::lock_guard lock(mutex_);
    meet.gave_up.insert(rank);
    std::erase_if(meet.sockets, [&](const auto& s) { return s.first.to == rank; });
    return unexpected(at_gang(token, std::move(why), abort));
  }
  auto engine = settle(token, rank, members, std::move(all), meet, abort, deadline);
  leave(token, meet);
  if (!engine) return unexpected(at_gang(token, std::move(engine.error()), abort));
  return met_rank{std::make_unique<group>(rank, size, std::move(*engine)), arrival::alone};
}

expected<std::unique_ptr<group_engine>> rendezvous::settle(const gang_token& token, std::uint32_t rank,
                                                           const gang_table& members, std::shared_ptr<mesh> links,
                                                           meeting& meet, abort_word& abort, time_point deadline) {
  const auto plan = join_plan(members.hash());
  auto engine = std::make_unique<linked_engine>(links, options_.table);
  // A gang on one host comes here when its memory cannot be shared.
  const auto possible = members.is_one_host() ? std::vector<island>() : islands_of(members);
  if (auto ok = engine->join(plan, deadline - now()); !ok) return unexpected(std::move(ok.error()));
  engine->tell_medium(medium_of(*links));
  if (possible.empty() || possible.size() == members.size()) return engine;
  links->sees_some_calls();
  const auto of = std::find_if(possible.begin(), possible.end(), [&](const auto& i) { return i.has(rank); });
  std::shared_ptr<area> there;
  if (of->size > 1) {
    auto met = meet_on_island(token, rank, members, *of, meet, abort, deadline);
    if (!met) {
      links->give_up(met.error());
      return unexpected(std::move(met.error()));
    }
    there = std::move(*met);
  }
  // Everyone knows which islands there are.
  const std::byte shares{there != nullptr};
  std::vector<std::byte> all(members.size(), shares);
  std::vector<inbox> in(members.size());
  for (std::uint32_t r = 0; r < in.size(); ++r) in[r].fixed = {&all[r], 1};
  const byte_view out[1] = {{&shares, 1}};
  if (auto ok = engine->pass(plan, out, in, deadline - now()); !ok) return unexpected(std::move(ok.error()));
  const auto islands = without(possible, all);
  if (islands.size() == members.size()) return engine;
  std::shared_ptr<shared_ties> ties;
  if (there && std::find_if(islands.begin(), islands.end(), [&](const auto& i) { return i.has(rank); })->size > 1) {
    ties = std::make_shared<shared_ties>();
    ties->whole = there;
    ties->rank = rank - of->first;
    ties->reads_memory = options_.read_memory;
  }
  auto made = std::make_unique<hierarchical_engine>(links, engine->table(), islands, ties, abort);
  if (!ties) return made;
  auto last = there->come(ties->rank, plan);
  if (last && *last) there->open();
  const auto left = deadline - now();
  auto ok = last ? there->await_start(ties->rank, {left, left}, abort) : expected<void>(unexpected(last.error()));
  if (ok) return made;
  made->give_up(ok.error());
  return unexpected(std::move(ok.error()));
}

expected<std::shared_ptr<area>> rendezvous::meet_on_island(const gang_token& token, std::uint32_t rank,
                                                           const gang_table& members, const island& here, meeting& meet,
                                                           abort_word& abort, time_point deadline) {
  part_of part;
  for (std::uint32_t r = 0; r < here.size; ++r) part.ranks.push_back(here.first + r);
  part.group = of_ranks(part.ranks);
  auto its = token;
  its.part = part.group;
  const auto& leader = members[here.first];
  bool one_process = true;
  for (const auto r : part.ranks) one_process &= same_process(leader, members[r]);
  if (same_process(leader, members[rank])) {
    const auto mine = one_process ? nullptr : neighbours_->own();
    if (!one_process && !mine) return std::shared_ptr<area>();
    std::lock_guard lock(mutex_);
    auto& place = meet.islands[here.first];
    if (!place && one_process) {
      place = std::make_shared<area>(here.size);
      place->belongs_to(part);
      place->use(options_.table);
      place->tell_members(members);
    } else if (!place) {
      auto made = mine->publish(its, here.size, part);
      if (!made || !*made) return made;
      place = std::move(*made);
      place->tell_members(members);
    }
  } else {
    auto there = neighbours_->attach(leader.endpoint, leader.executor, members[rank].executor, abort, deadline);
    const auto named = [&](error why) {
      if (!abort.is_set()) why.what = name_of(leader) + " does not share the memory of its host: " + why.what;
      return unexpected(std::move(why));
    };
    if (!there) return named(std::move(there.error()));
    if (!*there) return std::shared_ptr<area>();
    auto found = (*there)->find(its, here.size, abort, deadline);
    if (!found) return named(std::move(found.error()));
    if (!*found) return found;
    (*found)->belongs_to(part);
    (*found)->tell_members(members);
    std::lock_guard lock(mutex_);
    // One for all ranks of this process.
    meet.islands.try_emplace(here.first, std::move(*found));
  }
  std::lock_guard lock(mutex_);
  auto place = meet.islands[here.first];
  if (!one_process) remember(place, members, part.ranks, same_process(leader, members[rank]));
  return place;
}

}  // namespace hydrogen::comm
