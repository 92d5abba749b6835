// The ranks of a gang that has no area in common: each has a link to each.

#include <hydrogen/comm/collective/linked.hpp>
#include <hydrogen/comm/dial.hpp>
#include <hydrogen/comm/rendezvous_meeting.hpp>
#include <hydrogen/comm/tcp/link.hpp>

#include <algorithm>

namespace hydrogen::comm {
namespace {

std::string_view host_of(const gang_member& m) {
  return std::string_view(m.endpoint).substr(0, std::min(m.endpoint.rfind(':'), m.endpoint.size()));
}

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

}  // namespace

expected<std::unique_ptr<link>> rendezvous::dial_rank(const gang_token& token, const gang_member& self,
                                                      const gang_member& peer, abort_word& abort, time_point deadline) {
  hello mine;
  mine.purpose = link_purpose::gang;
  mine.from = self.executor;
  mine.to = peer.executor;
  mine.who = name_of(self) + " of gang " + to_string(token);
  mine.token = encode(link_token{token, self.rank, peer.rank});
  auto socket = dial(peer.endpoint, *key_, mine, deadline, &abort);
  if (!socket) {
    auto e = std::move(socket.error());
    if (!abort.is_set()) e.what = name_of(peer) + " cannot be reached: " + e.what;
    return unexpected(std::move(e));
  }
  return std::make_unique<tcp::link>(std::move(*socket));
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
    } else if (auto l = dial_rank(token, members[rank], members[r], abort, deadline); l) {
      links[r] = std::move(*l);
    } else {
      why = std::move(l.error());
    }
    if (links[r]) announce(*links[r], token, plan);
  }
  // In the order in which they come, so that everyone who is here learns that this rank is.
  while (awaited > 0 && why.code == errc::none && !late) {
    unique_fd socket;
    auto r = wait_for(meet, members, rank, links, socket, abort, deadline);
    if (!r) {
      why = std::move(r.error());
    } else if (*r == rank) {
      late = true;
    } else {
      links[*r] = std::make_unique<tcp::link>(std::move(socket));
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
  leave(token, meet);
  auto engine = std::make_unique<linked_engine>(std::move(all));
  if (auto ok = engine->join(plan, deadline - now()); !ok) {
    return unexpected(at_gang(token, std::move(ok.error()), abort));
  }
  return met_rank{std::make_unique<group>(rank, size, std::move(engine)), arrival::alone};
}

}  // namespace hydrogen::comm
