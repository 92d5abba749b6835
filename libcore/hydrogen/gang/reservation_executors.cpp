// The executors of a node: one per run, started by the first commit, kept warm until the run is over.

#include <hydrogen/gang/reservation.hpp>

#include <algorithm>

namespace hydrogen::gang {

void reservation::start(const application_ref& app) {
  executor x;
  x.app = app;
  x.boot = {hash_mix(boot_.value, ++executors_started_) | 1};
  x.deadline = now_ + options_.start_timeout;
  emit(reservation_effect::start_executor{app, x.boot});
  executors_[app.run] = std::move(x);
}

void reservation::end_executor(executor& x) {
  x.state = executor_state::ending;
  x.deadline = never;
  emit(reservation_effect::end_executor{x.boot});
}

void reservation::handle(const reservation_event::executor_ready& m) {
  const auto at = executors_.find(m.run);
  if (at == executors_.end() || at->second.boot != m.executor || at->second.state != executor_state::starting) return;
  auto& x = at->second;
  x.state = executor_state::ready;
  x.was_ready = true;
  x.endpoint = m.endpoint;
  x.deadline = never;
  for (auto& [ref, e] : entries_) {
    if (ref.request.run == m.run && e.state == entry_state::starting) accept(e, x);
  }
}

void reservation::handle(const reservation_event::executor_failed& m) {
  executor_is_gone(m.run, m.executor, m.kind, m.why);
}

void reservation::handle(const reservation_event::executor_died& m) {
  executor_is_gone(m.run, m.executor, refusal_kind::executor, {errc::disconnected, m.cause, options_.node, {}});
}

void reservation::executor_is_gone(run_id run, boot_id boot, refusal_kind kind, const error& why) {
  const auto at = executors_.find(run);
  if (at == executors_.end() || at->second.boot != boot) return;
  const auto x = std::move(at->second);
  executors_.erase(at);
  // A library that cannot be used is the better reason, also when it took too long to find out.
  const auto& reason = x.too_slow && kind != refusal_kind::application ? *x.too_slow : why;
  // Ended on purpose, it takes down what it knew; what waits for an executor gets the next one. Failed, it fails both.
  const bool on_purpose = x.state == executor_state::ending && !x.too_slow;
  std::vector<attempt_ref> known;
  bool wanted = false;
  for (auto& [ref, e] : entries_) {
    if (ref.request.run != run) continue;
    if (e.told_executor || e.state == entry_state::committed ||
        (e.state == entry_state::starting && !on_purpose && !x.was_ready)) {
      known.push_back(ref);
    } else {
      wanted |= e.state == entry_state::starting;
    }
  }
  // First, so that a job knows the cause when it hears that its attempt has ended.
  if (x.was_ready && !expelled_) {
    executor_lost lost{term_, boot_, run, boot, why.what};
    lost_[boot] = {lost, now_ + options_.retry};
    send(std::move(lost));
  }
  if (!on_purpose) ++failures_;
  for (const auto& ref : known) {
    auto& e = *find(ref);
    for (const auto& held : e.devices) {
      if (on_purpose) break;
      for (const auto number : held.numbers) device_failures_[{held.kind, number}] = failures_;
    }
    e.executor = x.boot;  // also of what it was only started for: one death is one failure, whatever waited for it
    if (e.state != entry_state::draining) {
      e.by_itself = true;
      e.cause = end_cause::lost;
      e.refusal = x.was_ready ? refusal_kind::executor : kind;
      e.detail = reason;
    }
    bury(ref);
  }
  if (expelled_) return expulsion_may_be_over();
  if (wanted) {
    for (const auto& [ref, e] : entries_) {
      if (ref.request.run == run && e.state == entry_state::starting) {
        start(e.app);
        break;
      }
    }
  }
  run_may_be_over(run);
}

void reservation::handle(const reservation_event::executor_said& m) {
  std::visit(
      [&](const auto& said) {
        auto* e = find(said.ref);
        if (e == nullptr || e->executor != m.executor) return;
        using message = std::decay_t<decltype(said)>;
        if constexpr (std::is_same_v<message, ranks_joined>) {
          if (e->state != entry_state::committed && e->state != entry_state::joining) return;
          if (e->state == entry_state::committed) begin_joining(*e);
          e->joined = true;
          e->everyone |= said.everyone;
          e->meets = said.meets;
          tell_news(*e, entry_news::joined);
        } else if constexpr (std::is_same_v<message, ranks_returned>) {
          // They may have begun before the coordinator's word came here: it opens one gate for all that meet there.
          if (e->state < entry_state::committed || e->state > entry_state::running) return;
          e->returned = true;
          bury(said.ref);
        } else {
          if (e->state == entry_state::draining) bury(said.ref);
        }
      },
      m.message);
}

void reservation::order(const lost_noted& m) {
  lost_.erase(m.executor);
}

void reservation::order(const end_executors& m) {
  ending_runs_.insert(m.run);
  std::vector<attempt_ref> refs;
  for (const auto& [ref, e] : entries_) {
    if (ref.request.run == m.run) refs.push_back(ref);
  }
  for (const auto& ref : refs) end(*find(ref), false, end_cause::cancelled);
  if (const auto at = executors_.find(m.run); at != executors_.end() && at->second.state != executor_state::ending) {
    end_executor(at->second);
  }
  run_may_be_over(m.run);
}

void reservation::run_may_be_over(run_id run) {
  if (!ending_runs_.contains(run) || executors_.contains(run)) return;
  const bool left =
      std::any_of(entries_.begin(), entries_.end(), [&](const auto& e) { return e.first.request.run == run; });
  if (left) return;
  ending_runs_.erase(run);
  emit(reservation_effect::run_over{run});
  send(executors_ended{term_, boot_, run});
}

}  // namespace hydrogen::gang
