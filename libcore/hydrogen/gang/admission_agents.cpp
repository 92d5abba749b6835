// Who is a member, what agents say, who is dead.

#include <hydrogen/gang/admission.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace hydrogen::gang {

void admission::said(const enlist& m) {
  if (m.seen > term_) {
    log(true, fmt::format("node {} follows term {}, this is {}: is there a second coordinator?", m.node,
                          to_string(m.seen), to_string(term_)));
    return;
  }
  auto* node = ledger_.find(m.agent);
  if (node == nullptr) {
    // An agent registers only when nothing of its older boot is left; but two agents of one name must not kill each
    // other for ever, so one that is in contact keeps its name.
    const auto same = std::find_if(ledger_.nodes().begin(), ledger_.nodes().end(),
                                   [&](const auto& n) { return n.second.name == m.node; });
    if (same != ledger_.nodes().end()) {
      if (same->second.connected) {
        log(true, fmt::format("another agent calls itself {} too; it must wait until the first is gone", m.node));
        return;
      }
      declare_dead(same->first, "it was started again");
    }
    node = &ledger_.add(m.agent, m.node);
    ledger_.drain(*node, drained_.contains(m.node));
  }
  wakes_.clear({wake_kind::node, {}, {}, m.agent});
  node->lost_at = never;
  if (m.seen < term_) {
    ledger_.set(*node, node->listed, true);
    tell_agent(m.agent, follow{term_, m.agent});
    return wake_node(*node);
  }
  if (!node->listed) count_list(*node, m);
  lost_nodes_.erase(m.node);  // not before its slots count, or a request would look too large in between
  ledger_.set(*node, true, true);
  enlisted answer{term_, m.agent, m.list, {}};
  for (const auto& [ref, kind] : node->orphans) answer.disown.push_back(ref);
  tell_agent(m.agent, std::move(answer));
  wake_node(*node);
  if (may_judge()) judge_all();
  queue_changed_ = true;
}

/// The one list of this boot under this term (rule 3): from now on the coordinator's own account goes on.
void admission::count_list(ledger_node& node, const enlist& m) {
  log(false, fmt::format("node {} (boot {}) is in, with {} slots and {} entries", m.node, to_string(m.agent), m.slots,
                         m.entries.size()));
  ledger_.resize(node, {m.slots, m.has, m.labels});
  ledger_.set(node, false, true);
  std::set<attempt_ref> listed;
  for (const auto& e : m.entries) {
    listed.insert(e.ref);
    if (auto* r = find(e.ref.request); r != nullptr) {
      if (const auto a = r->attempts.find(e.ref.attempt); a != r->attempts.end()) {
        if (!e.meets.empty()) a->second.meets = e.meets;
        continue;  // debited from the journal
      }
    }
    ledger_.debit(node.boot, e.ref, e.slots, e.each);
    ledger_.returns(node.boot, e.ref);
    node.orphans[e.ref] = e.kind;
  }
  std::vector<attempt_ref> recovered;
  for (const auto& [ref, h] : node.held) {
    if (!node.orphans.contains(ref)) recovered.push_back(ref);
  }
  std::set<boot_id> alive;
  for (const auto& x : m.executors) {
    if (x.executor) {
      node.executors[x.executor] = x.run;
      alive.insert(x.executor);
    }
    host_of(x.run, node.boot);
  }
  for (auto at = node.executors.begin(); at != node.executors.end();) {
    const auto [executor, run] = *at;
    if (alive.contains(executor)) {
      ++at;
      continue;
    }
    at = node.executors.erase(at);
    notify(run, {noted_kind::executor_gone, {run, 0, 0, 0}, {}, executor},
           executor_gone{term_, run, executor, node.name, "it died while there was no coordinator"});
  }
  for (const auto& ref : recovered) {
    auto* r = find(ref.request);
    if (r == nullptr) continue;
    const auto a = r->attempts.find(ref.attempt);
    if (a == r->attempts.end()) continue;
    const auto x = std::find_if(a->second.members.begin(), a->second.members.end(),
                                [&](const auto& member) { return member.is.agent == node.boot; });
    if (x != a->second.members.end()) came_back(*r, a->second, *x, node, m);
  }
}

admission::run_state& admission::host_of(run_id id, boot_id agent) {
  auto [at, fresh] = runs_.try_emplace(id);
  auto& run = at->second;
  run.hosts.insert(agent);
  if (fresh) {
    if (ended_runs_.contains(id)) {
      run.ending = true;
      run_may_be_over(id);
    } else {  // of an earlier term: its driver may come back
      run.deadline = now_ + options_.driver_return;
      wakes_.set({wake_kind::run, {id, 0, 0, 0}, {}, {}}, run.deadline);
    }
  }
  return run;
}

void admission::wake_node(ledger_node& node) {
  auto at = never;
  if (!node.orphans.empty() || (node.connected && !node.listed)) at = now_ + options_.retry;
  if (!node.connected) {
    at = std::min(at, node.lost_at + (node.listed ? options_.contact_grace : options_.membership_grace));
  }
  wakes_.set({wake_kind::node, {}, {}, node.boot}, at);
}

void admission::said(const entry_report_news& m) {
  auto* node = ledger_.find(m.agent);
  // What was said under an older term is said again by the list.
  if (node == nullptr || m.term != term_) return;
  if (m.news == entry_news::gone) order(m.agent, m.ref, entry_verb::acknowledge_gone);
  const bool final = m.news == entry_news::finished || m.news == entry_news::gone || m.news == entry_news::absent ||
                     m.news == entry_news::refused;
  auto* r = find(m.ref.request);
  if (r != nullptr) {
    if (const auto a = r->attempts.find(m.ref.attempt); a != r->attempts.end()) {
      for (auto& x : a->second.members) {
        if (x.is.agent != m.agent) continue;
        if (final) {
          member_gone(*r, a->second, x, m);
        } else {
          progress(*r, a->second, x, m);
        }
        return;
      }
    }
  }
  // Of an attempt that is not over it stays in the lists of its agent, for a coordinator that comes after this one.
  if (m.news == entry_news::finished) acknowledge_soon(m.agent, m.ref);
  if (final) return orphan_gone(*node, m.ref);
  // Late news of something that is confirmed gone, or an entry that nobody knows: either way it must not live.
  if (!node->orphans.contains(m.ref)) order(m.agent, m.ref, entry_verb::revoke);
}

/// With the next word to that agent, or alone, before it would be asked for again.
void admission::acknowledge_soon(boot_id agent, const attempt_ref& ref) {
  auto& refs = unacknowledged_[agent];
  refs.insert(ref);
  wake_by({wake_kind::acknowledge, {}, {}, agent}, now_ + options_.retry / 4);
}

void admission::acknowledge(boot_id agent) {
  const auto refs = unacknowledged_.extract(agent);
  if (!refs) return;
  wakes_.clear({wake_kind::acknowledge, {}, {}, agent});
  for (const auto& ref : refs.mapped()) order(agent, ref, entry_verb::acknowledge_gone);
}

void admission::orphan_gone(ledger_node& node, const attempt_ref& ref) {
  const auto at = node.orphans.find(ref);
  if (at == node.orphans.end()) return;
  ledger_.credit(node.boot, ref);
  if (at->second == request_kind::parallel) {
    notify(ref.request.run, {noted_kind::ended, ref.request, ref.attempt, {}},
           ended{term_, ref.request, ref.attempt, end_cause::restart, false, "the coordinator was restarted"});
  }
  node.orphans.erase(at);
  queue_changed_ = true;
}

void admission::said(const executor_lost& m) {
  auto* node = ledger_.find(m.agent);
  if (node == nullptr || m.term != term_) return;
  tell_agent(m.agent, lost_noted{term_, m.agent, m.executor});
  node->executors.erase(m.executor);
  notify(m.run, {noted_kind::executor_gone, {m.run, 0, 0, 0}, {}, m.executor},
         executor_gone{term_, m.run, m.executor, node->name, m.cause});
}

void admission::said(const executors_ended& m) {
  auto* run = find_run(m.run);
  if (run == nullptr || !run->requests_gone || m.term != term_) return;
  run->hosts.erase(m.agent);
  run_may_be_over(m.run);
}

// ---- draining ------------------------------------------------------------------------------------------------------

/// What runs there ends by itself; what is about to begin begins elsewhere.
void admission::handle(const admission_event::drain& e) {
  std::vector<boot_id> boots;
  std::string names;
  for (const auto& [boot, node] : ledger_.nodes()) {
    if (node.name == e.node) boots.push_back(boot);
    names += (names.empty() ? "" : ", ") + node.name;
  }
  if (boots.empty() && !drained_.contains(e.node) && !lost_nodes_.contains(e.node)) {
    out_.push_back(admission_effect::answer_drain{
        e.ticket,
        {errc::not_found, "there is no such node", e.node, "nodes are " + (names.empty() ? "not there" : names)}});
    return;
  }
  if (e.on) {
    drained_.insert(e.node);
  } else {
    drained_.erase(e.node);
  }
  log(false, fmt::format("node {} is {}", e.node, e.on ? "drained: nothing new begins there" : "used again"));
  gates_.push_back({append(drain_record{e.node, e.on}), gate_kind::drain, {}, {}, e.ticket});
  for (const auto boot : boots) {
    auto& node = *ledger_.find(boot);
    ledger_.drain(node, e.on);
    if (e.on) vacate(node);
  }
  queue_changed_ = true;
}

void admission::vacate(const ledger_node& node) {
  std::vector<attempt_ref> held;
  for (const auto& [ref, h] : node.held) held.push_back(ref);
  std::sort(held.begin(), held.end());
  for (const auto& ref : held) {
    auto* r = find(ref.request);
    const auto a = r == nullptr ? decltype(r->attempts.end()){} : r->attempts.find(ref.attempt);
    if (r == nullptr || a == r->attempts.end() || a->second.over()) continue;
    if (a->second.before_go()) {
      end_attempt(*r, a->second, entry_verb::abort, after_end::queue, end_cause::gave_way, false,
                  fmt::format("node {} is drained", node.name));
    } else if (!r->is_gang()) {
      notify(ref.request.run, {noted_kind::hand_back, ref.request, ref.attempt, {}},
             hand_back{term_, ref.request, ref.attempt});
    }
  }
}

void admission::declare_dead(boot_id boot, const std::string& why) {
  auto* node = ledger_.find(boot);
  invariant(node != nullptr, "a node that is not there is declared dead");
  const auto name = node->name;
  log(true, fmt::format("node {} (boot {}) is dead: {}", name, to_string(boot), why));
  dead_boots_.insert(boot);
  unacknowledged_.erase(boot);
  wakes_.clear({wake_kind::acknowledge, {}, {}, boot});
  wakes_.clear({wake_kind::node, {}, {}, boot});
  if (node->size.slots > 0) {
    lost_nodes_[name] = {node->size, now_ + options_.membership_grace};
    wake_by({wake_kind::membership, {}, {}, {}}, now_ + options_.membership_grace);
  }
  ledger_.set(*node, false, false);
  const auto orphans = node->orphans;
  for (const auto& [ref, kind] : orphans) orphan_gone(*node, ref);
  // First, so that a job knows the cause when it hears that its attempt has ended.
  for (const auto& [executor, run] : node->executors) {
    notify(run, {noted_kind::executor_gone, {run, 0, 0, 0}, {}, executor},
           executor_gone{term_, run, executor, name, "node " + name + " is gone: " + why});
  }
  std::vector<attempt_ref> held;
  for (const auto& [ref, h] : node->held) held.push_back(ref);
  std::sort(held.begin(), held.end());
  for (const auto& ref : held) {
    auto* r = find(ref.request);
    if (r == nullptr) continue;
    const auto a = r->attempts.find(ref.attempt);
    if (a == r->attempts.end()) continue;
    for (auto& x : a->second.members) {
      if (x.is.agent != boot) continue;
      entry_report_news gone;
      gone.news = entry_news::gone;
      gone.refusal = refusal_kind::dead;
      gone.cause = end_cause::lost;
      gone.detail = {errc::disconnected, "node " + name + " is gone: " + why, name, {}};
      member_gone(*r, a->second, x, gone);
      break;
    }
  }
  ledger_.erase(boot);
  std::vector<run_id> hosted;
  for (auto& [id, run] : runs_) {
    if (run.hosts.erase(boot) > 0 && run.requests_gone) hosted.push_back(id);
  }
  for (const auto& id : hosted) run_may_be_over(id);
  queue_changed_ = true;
}

}  // namespace hydrogen::gang
