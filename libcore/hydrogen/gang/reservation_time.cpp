// What an agent does when nothing comes: deadlines and repeats.

#include <hydrogen/gang/reservation.hpp>

#include <algorithm>

namespace hydrogen::gang {

time_point reservation::next_wakeup() const {
  auto next = connected_ && !enlisted_ && !expelled_ ? next_list_ : never;
  bool committed = false;
  for (const auto& [ref, e] : entries_) {
    next = std::min(next, e.deadline);
    committed |= e.state == entry_state::committed;
  }
  for (const auto& [run, x] : executors_) next = std::min(next, x.deadline);
  if (connected_ && !expelled_) {
    for (const auto& [ref, u] : gone_) next = std::min(next, u.next);
    for (const auto& [boot, u] : lost_) next = std::min(next, u.next);
  }
  if (contact_lost_ != never) {
    if (committed) next = std::min(next, contact_lost_ + options_.contact_committed);
    if (!entries_.empty() || !executors_.empty()) {
      // What has ended for it already, and only waits for confirmation, needs no second wake-up.
      const auto last = contact_lost_ + options_.contact_running;
      if (last > now_) next = std::min(next, last);
    }
  }
  return next;
}

void reservation::handle(const reservation_event::timer&) {
  std::vector<attempt_ref> due;
  const bool drop_committed = contact_lost_ != never && now_ >= contact_lost_ + options_.contact_committed;
  const bool drop_all = contact_lost_ != never && now_ >= contact_lost_ + options_.contact_running;
  for (const auto& [ref, e] : entries_) {
    if (e.deadline <= now_ || (drop_committed && e.state == entry_state::committed) || drop_all) due.push_back(ref);
  }
  for (const auto& ref : due) {
    auto* e = find(ref);
    if (e == nullptr) continue;
    const error away{errc::timed_out, "there was no coordinator for too long", options_.node, {}};
    switch (e->state) {
      case entry_state::reserved:
      case entry_state::committed:
        end(*e, true, end_cause::expired, refusal_kind::busy,
            e->deadline <= now_ ? error{errc::timed_out, "the reservation was not committed in time", options_.node, {}}
                                : away);
        break;
      case entry_state::joining:
        if (e->deadline <= now_) {
          end(*e, true, end_cause::expired, refusal_kind::none,
              error{errc::timed_out,
                    e->joined ? "the ranks of other nodes did not join in time" : "the ranks here did not join in time",
                    options_.node,
                    "see the log of the ranks; a task that does not arrive or a peer that cannot be reached"});
        } else {
          end(*e, true, end_cause::expired, refusal_kind::none, away);
        }
        break;
      case entry_state::draining: {
        e->deadline = never;
        const auto x = executors_.find(ref.request.run);
        if (x != executors_.end() && x->second.boot == e->executor && x->second.state == executor_state::ready) {
          log(true, to_string(ref.request) + " " + to_string(ref.attempt) + " does not stop: ending its executor");
          end_executor(x->second);
        }
        break;
      }
      case entry_state::running:
        if (!drop_all) {
          report(*e);
          break;
        }
        [[fallthrough]];
      default:
        end(*e, true, end_cause::expired, refusal_kind::busy, away);
    }
  }
  for (auto& [run, x] : executors_) {
    const bool too_slow = x.deadline <= now_;
    if (too_slow) {
      x.too_slow = error{errc::timed_out, "the executor did not start in time", options_.node,
                         "raise executor.start_timeout if its library loads slowly"};
    }
    const bool idle = std::none_of(entries_.begin(), entries_.end(),
                                   [&, r = run](const auto& e) { return e.first.request.run == r; });
    if (too_slow || (drop_all && idle && x.state != executor_state::ending)) end_executor(x);
  }
  if (!connected_ || expelled_) return;
  for (auto& [ref, u] : gone_) {
    if (u.next > now_) continue;
    std::get<entry_report_news>(u.message).term = term_;
    u.next = now_ + options_.retry;
    send(u.message);
  }
  for (auto& [boot, u] : lost_) {
    if (u.next > now_) continue;
    std::get<executor_lost>(u.message).term = term_;
    u.next = now_ + options_.retry;
    send(u.message);
  }
  if (!enlisted_ && next_list_ <= now_) send_list();
}

}  // namespace hydrogen::gang
