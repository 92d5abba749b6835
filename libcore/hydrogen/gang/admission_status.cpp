// Words for people: why a request waits, and the snapshot of `hydrogen status`.

#include <hydrogen/base/units.hpp>
#include <hydrogen/gang/admission.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace hydrogen::gang {
namespace {

std::string name_of(const slot_request& r) {
  return r.label.empty() ? to_string(r.id) : fmt::format("{} ({})", r.label, to_string(r.id));
}

std::string nodes_that(const attempt_state& a, bool (*owes)(const attempt_member&)) {
  std::string names;
  for (const auto& m : a.members) {
    if (!owes(m)) continue;
    if (!names.empty()) names += ", ";
    names += m.is.node;
  }
  return names;
}

/// Slots of members that are so far, or further.
std::uint32_t slots_that(const attempt_state& a, member_progress least) {
  std::uint32_t slots = 0;
  for (const auto& m : a.members) slots += m.progress >= least ? m.is.slots : 0;
  return slots;
}

}  // namespace

/// What takes slots away that a person may not think of.
std::string admission::why_few() const {
  std::string text;
  for (const auto& [boot, node] : ledger_.nodes()) {
    if (node.usable()) continue;
    text += fmt::format("; node {} {}", node.name,
                        !node.listed           ? "is not back yet"
                        : !node.connected      ? "has lost contact"
                        : node.taken.slots > 0 ? "is draining"
                                               : "is drained");
  }
  if (const auto n = ledger_.total_returning(); n > 0) {
    text += fmt::format("; {} {} being given back", n, n == 1 ? "is" : "are");
  }
  if (const auto n = queue_.recalled(); n > 0) text += fmt::format("; {} asked back from parallel stages", n);
  return text;
}

/// " with 1 gpu and 2 GiB each, labelled zone=a, on one node"; nothing for any slots.
std::string admission::words(const demand& needs) {
  std::string each;
  const auto also = [&](const std::string& what) { each += (each.empty() ? " with " : " and ") + what; };
  for (const auto& d : needs.each.devices) {
    also(d.shared_by > 1 ? fmt::format("{}/{} {}", d.count, d.shared_by, d.kind)
                         : fmt::format("{} {}", d.count, d.kind));
  }
  if (needs.each.memory > 0) also(format_size(needs.each.memory));
  if (!each.empty()) each += " each";
  for (const auto& label : needs.labels) each += (&label == &needs.labels.front() ? ", labelled " : " and ") + label;
  if (needs.how == placement::one_node) each += ", on one node";
  return each;
}

std::string admission::reason(const request_state& r, const std::string& few) const {
  if (!r.confirmed) return "waits for its driver to come back";
  if (r.final) {
    return r.attempts.empty() ? "its end is being recorded" : "waits until its nodes confirm that it is over";
  }
  if (r.requeuing) return "its next try is being recorded";
  if (r.parked) return "parked: waits for its job to run what is missing";
  if (r.is_gang() && !r.attempts.empty()) {
    const auto& a = r.attempts.begin()->second;
    switch (a.phase) {
      case attempt_phase::reserving:
        return "waits for " +
               nodes_that(a, [](const attempt_member& m) { return m.progress < member_progress::reserved; }) +
               " to reserve";
      case attempt_phase::committing:
        if (a.progressed == a.members.size()) return "waits for its job to fence the attempt";
        return "waits for executors on " +
               nodes_that(a, [](const attempt_member& m) { return m.progress < member_progress::committed; });
      case attempt_phase::joining:
        if (a.progressed == a.members.size()) return "all ranks have joined, its go is being recorded";
        return fmt::format("{} of {} ranks have joined, waits for {}", slots_that(a, member_progress::joined), a.slots,
                           nodes_that(a, [](const attempt_member& m) { return m.progress < member_progress::joined; }));
      case attempt_phase::running:
        if (slots_that(a, member_progress::finished) < a.slots) return {};
        return "all ranks have returned, waits for its job to take the results";
      case attempt_phase::recovering: {
        const auto away = nodes_that(a, [](const attempt_member& m) { return m.progress == member_progress::asked; });
        return "waits for " + (away.empty() ? "its job" : away) + " to go on after the restart";
      }
      case attempt_phase::closing:
      case attempt_phase::ending:
        return "waits for " + nodes_that(a, [](const attempt_member& m) { return m.holds(); }) +
               " to confirm the end of attempt " + to_string(a.ref.attempt);
    }
  }
  const auto wanted = r.need();
  if (wanted == 0) return r.held == 0 ? "its job wants no slots now" : std::string();
  if (is_short()) return shortage_.message();
  if (!may_judge()) {
    if (const auto known = possible(r.what.needs); known < wanted) {
      return fmt::format("{} of {} slots known so far", known, wanted);
    }
  }
  if (queue_.at_limit(r)) {
    return fmt::format("needs {} slot{}, and {} holds {} of the {} that one application may", wanted,
                       wanted == 1 ? "" : "s", r.mark.application, queue_.held_by(r.mark.application),
                       options_.queue.application_slots);
  }
  const auto& needs = r.what.needs;
  const auto free = outlook(ledger_, needs, false).room();
  auto text = fmt::format("needs {} slot{}{}, {} free", wanted, wanted == 1 ? "" : "s", words(needs), free);
  if (now_ < r.not_before) text += "; was refused, tries again soon";
  if (const auto* head = queue_.head(); head == &r) {
    if (r.mark.passed_by > 0) {
      text +=
          fmt::format("; {} behind it {} served meanwhile", r.mark.passed_by, r.mark.passed_by == 1 ? "was" : "were");
    }
    if (queue_.holds(r, now_)) text += "; what becomes free is held for it";
  } else if (head != nullptr) {
    text += "; behind " + name_of(head->what);
  }
  return text + few;
}

std::string admission::state_name(const request_state& r) const {
  if (r.final && !r.attempts.empty()) return r.final->reason == close_reason::released ? "closing" : "ending";
  if (r.final) return "over";
  if (!r.is_gang()) return r.held > 0 ? "running" : r.need() > 0 ? "queued" : "idle";
  if (r.parked || r.requeuing) return "parked";
  if (r.attempts.empty()) return "queued";
  switch (r.attempts.begin()->second.phase) {
    case attempt_phase::reserving:
      return "reserving";
    case attempt_phase::committing:
      return "committing";
    case attempt_phase::joining:
      return "joining";
    case attempt_phase::running:
      return "running";
    case attempt_phase::recovering:
      return "recovering";
    case attempt_phase::closing:
      return "closing";
    case attempt_phase::ending:
      break;
  }
  return r.attempts.begin()->second.end_verb == entry_verb::abort ? "aborting" : "revoking";
}

void admission::tell_reason(request_state& r, bool always, const std::string& few) {
  auto text = reason(r, few);
  if (!always && text == r.told_reason) return;
  r.told_reason = text;
  tell_job(r.what.id.run, admitted{term_, r.what.id, std::move(text)});
}

/// Twice a second while somebody waits, so that no event pays for it; those far behind hear it when they come nearer.
void admission::tell_reasons() {
  const auto few = why_few();
  for (auto* r : queue_.waiting(100)) tell_reason(*r, false, few);
  if (queue_.waits() > 0) wakes_.set({wake_kind::reasons, {}, {}, {}}, now_ + options_.retry);
}

cluster_status admission::status() const {
  cluster_status all;
  all.term = term_;
  for (const auto& [boot, node] : ledger_.nodes()) {
    node_status n;
    n.name = node.name;
    n.boot = boot;
    n.state = node.usable()                                    ? "ready"
              : node.draining && node.connected && node.listed ? (node.taken.slots > 0 ? "draining" : "drained")
              : node.listed                                    ? "lost contact"
              : node.connected                                 ? "joining"
                                                               : "awaited since the restart";
    n.slots = node.size.slots;
    n.free = node.free();
    n.executors = static_cast<std::uint32_t>(node.executors.size());
    for (const auto& d : node.size.has.devices) {
      const auto taken = count_of(node.taken.all.devices, d.kind);
      n.devices.push_back({d.kind, d.count, node.usable() && d.count > taken ? d.count - taken : 0});
    }
    for (const auto& [ref, h] : node.held) {
      const auto r = requests_.find(ref.request);
      resources with;
      add(with, h.each, h.slots);
      n.held.push_back({r == requests_.end() ? to_string(ref.request) : name_of(r->second.what), to_string(ref.attempt),
                        h.slots, std::move(with.devices)});
    }
    std::sort(n.held.begin(), n.held.end(), [](const auto& a, const auto& b) { return a.request < b.request; });
    all.nodes.push_back(std::move(n));
  }
  std::sort(all.nodes.begin(), all.nodes.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  for (const auto& [id, run] : runs_) {
    all.runs.push_back({id, run.app.name, run.app.endpoint,
                        run.ending      ? "ending"
                        : run.connected ? "connected"
                                        : "driver away",
                        static_cast<std::uint32_t>(run.requests.size())});
  }
  std::sort(all.runs.begin(), all.runs.end(), [](const auto& a, const auto& b) { return a.run < b.run; });
  const auto few = why_few();
  std::vector<const request_state*> order;
  for (const auto& [id, r] : requests_) order.push_back(&r);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) { return a->at < b->at; });
  for (const auto* r : order) {
    request_status s;
    s.id = r->what.id;
    s.label = r->what.label;
    s.kind = r->is_gang() ? "gang" : "parallel";
    s.state = state_name(*r);
    s.least = r->what.least;
    s.most = r->what.most;
    s.held = r->held;
    for (const auto& [attempt, a] : r->attempts) {
      for (const auto& m : a.members) s.held -= a.over() || m.holds() ? 0 : m.is.slots;
      if (a.phase == attempt_phase::running) s.meets = a.meets;
    }
    s.place = r->submitted;
    if (r->last_attempt) s.attempt = to_string(r->last_attempt);
    s.reason = reason(*r, few);
    all.requests.push_back(std::move(s));
  }
  return all;
}

}  // namespace hydrogen::gang
