// Gangs whose Go is open in the journal, after a restart: those that all their nodes and their job go on with are taken
// over, the others are revoked and parked, which burns no retry.

#include <hydrogen/gang/admission.hpp>
#include <hydrogen/gang/keep.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace hydrogen::gang {

/// Its members are debited from the journal. On a node that is not back within the grace they are dead.
void admission::recover(request_state& r, const go_record& go) {
  const auto run = r.what.id.run;
  auto& a = r.attempts[go.ref.attempt];
  a.ref = go.ref;
  a.phase = attempt_phase::recovering;
  a.go_written = a.go_durable = a.told_agents = true;
  a.begun = term_began_;
  for (const auto& m : go.members) {
    auto& node = ledger_.add(m.agent, m.node);
    ledger_.drain(node, drained_.contains(m.node));
    node.lost_at = term_began_;
    ledger_.debit(m.agent, a.ref, m.slots, r.what.needs.each);
    node.executors[m.executor] = run;
    a.slots += m.slots;
    a.members.push_back({m, member_progress::asked});
    runs_[run].hosts.insert(m.agent);
    wake_node(node);
  }
  r.held += a.slots;
  r.retried = true;
  wakes_.set({wake_kind::attempt, r.what.id, go.ref.attempt, {}}, term_began_ + options_.retry);
}

/// Gangs that were cancelled, and whose nodes may not have heard of it.
void admission::go_on_ending() {
  std::vector<request_id> cancelled;
  for (const auto& [id, r] : requests_) {
    if (r.final) cancelled.push_back(id);
  }
  for (const auto& id : cancelled) end_attempts(requests_.at(id));
}

/// The node of this member is in with its list.
void admission::came_back(request_state& r, attempt_state& a, attempt_member& m, const ledger_node& node,
                          const enlist& list) {
  if (!m.holds()) return;
  const auto give_up = [&](const char* why) {
    end_attempt(r, a, entry_verb::revoke, after_end::park, end_cause::restart, false,
                fmt::format("node {} {}", node.name, why));
  };
  const auto at = std::find_if(list.entries.begin(), list.entries.end(), [&](const auto& e) { return e.ref == a.ref; });
  if (at == list.entries.end()) {
    entry_report_news gone;
    gone.news = entry_news::absent;
    if (std::find(list.finished.begin(), list.finished.end(), a.ref) != list.finished.end()) {
      gone.news = entry_news::finished;
    } else if (!a.over()) {
      give_up("gave it up while there was no coordinator");
    }
    return member_gone(r, a, m, gone);
  }
  if (a.phase != attempt_phase::recovering) return;
  if (!keep(*at, true) || at->slots != m.is.slots || at->executor != m.is.executor) {
    return give_up("does not go on with it");
  }
  // Go is said to all that do not run: who has joined says so again, and whether it did so for everyone at one gate.
  m.progress = at->state == entry_state::running ? member_progress::entered : member_progress::committed;
  go_on_if_all_back(r, a);
}

void admission::go_on_if_all_back(request_state& r, attempt_state& a) {
  if (a.phase != attempt_phase::recovering || !a.fenced || r.final) return;
  if (std::any_of(a.members.begin(), a.members.end(),
                  [](const auto& m) { return m.progress == member_progress::asked; })) {
    return;
  }
  log(false, fmt::format("{} ({}) attempt {} goes on after the restart", r.what.label, to_string(r.what.id),
                         to_string(a.ref.attempt)));
  a.phase = attempt_phase::joining;
  // Who was entered, or has finished, shows that all had joined.
  if (std::any_of(a.members.begin(), a.members.end(),
                  [](const auto& m) { return m.progress >= member_progress::entered; })) {
    return everyone_joined(r, a, {});
  }
  ask_all(r, a);
  enter_if_all_joined(r, a);
}

/// The fence asks its job whether it goes on with the attempt. One that does not is silent, or says what it wants.
void admission::repeat_recovery(request_state& r, attempt_state& a) {
  if (!a.fenced && now_ >= a.begun + options_.driver_return) {
    return end_attempt(r, a, entry_verb::revoke, after_end::park, end_cause::restart, false,
                       "its job does not go on with it");
  }
  if (!a.fenced) tell_job(r.what.id.run, fence{term_, r.what.id, a.ref.attempt});
  wakes_.set({wake_kind::attempt, r.what.id, a.ref.attempt, {}}, now_ + options_.retry);
}

}  // namespace hydrogen::gang
