#include <hydrogen/gang/execution.hpp>

#include <algorithm>
#include <utility>

namespace hydrogen::gang {
namespace {

namespace effect = execution_effect;

/// The rest of a task's id is that of its request.
std::uint64_t key_of(const task_id& id) {
  return std::uint64_t{id.partition} << 32 | id.attempt;
}

bool belongs(const task_id& id, const request_id& request) {
  return id.run == request.run && id.job == request.job && id.stage == request.stage;
}

}  // namespace

void execution::on(event e, time_point now, effects& out) {
  now_ = now;
  out_ = &out;
  std::visit([this](auto& x) { handle(x); }, e);
  out_ = nullptr;
}

time_point execution::next_wakeup() const {
  auto next = never;
  for (const auto& [ref, early] : early_) next = std::min(next, early.until);
  for (const auto& [ref, a] : attempts_) next = std::min(next, a.threads_at);
  return next;
}

void execution::handle(execution_event::agent_said& e) {
  std::visit([this](auto& m) { said(m); }, e.message);
}

// ---- attempts ------------------------------------------------------------------------------------------------------

void execution::said(accept_lease& m) {
  if (!attempts_.contains(m.ref)) open(m.ref, m.slots, nullptr);
}

void execution::handle(execution_event::gang_came& e) {
  const auto gang = std::move(e.gang);
  const auto& ref = gang->ref;
  // Of one that is over, or has no rank here, the ranks are refused.
  if (gang->ranks_here == 0 || attempts_.contains(ref) || ref.request.run != options_.run || is_over(ref) || ending_)
    return;
  open(ref, gang->ranks_here, gang);
}

void execution::open(const attempt_ref& ref, std::uint32_t slots, hosted_gang_ptr gang) {
  auto& a = attempts_[ref];
  a.ref = ref;
  a.slots = slots;
  a.is_gang = gang != nullptr;
  a.in_process = a.is_gang && gang->in_process;
  a.on_host = a.is_gang && gang->on_host;
  add(effect::open_lane{a.ref, slots, std::move(gang)});
  if (permitted_early_.erase(ref) != 0) add(effect::permit{ref});
  if (auto early = early_.extract(a.ref)) {
    for (auto& task : early.mapped().tasks) take(a, std::move(task));
  }
}

void execution::said(permit_ranks& m) {
  if (const auto at = attempts_.find(m.ref); at != attempts_.end()) {
    if (at->second.is_gang && !at->second.stopping) add(effect::permit{m.ref});
  } else if (!is_over(m.ref) && permitted_early_.size() < options_.most_over) {
    permitted_early_.insert(m.ref);
  }
}

void execution::said(enter_ranks& m) {
  auto* a = running(m.ref);
  if (a == nullptr || !a->is_gang || std::exchange(a->entered, true)) return;
  a->threads_at = never;
  add(effect::enter{a->ref});
}

void execution::said(stop_attempt& m) {
  if (const auto at = attempts_.find(m.ref); at != attempts_.end()) {
    at->second.told_to_stop = true;
    return stop(at->second, std::move(m.why));
  }
  remember(m.ref);
  refuse_early(m.ref);
  report(attempt_stopped{m.ref});
}

void execution::stop(attempt& a, error why) {
  if (std::exchange(a.stopping, true)) return;  // the answer comes when the lane is idle
  a.threads_at = never;
  add(effect::close_lane{a.ref, std::move(why)});
}

void execution::handle(execution_event::lane_idle& e) {
  const auto at = attempts_.find(e.ref);
  if (at == attempts_.end()) return;
  const auto& a = at->second;
  const auto done = a.is_gang && a.returned == a.slots && !a.told_to_stop && !ending_;
  attempts_.erase(at);
  remember(e.ref);
  done ? report(ranks_returned{e.ref}) : report(attempt_stopped{e.ref});
  if (ending_ && attempts_.empty()) add(effect::ended{});
}

void execution::handle(execution_event::end&) {
  if (std::exchange(ending_, true)) return;
  for (auto& [ref, a] : attempts_) stop(a, {errc::aborted, "the executor ends", {}, {}});
  if (attempts_.empty()) add(effect::ended{});
}

// ---- tasks ---------------------------------------------------------------------------------------------------------

void execution::handle(execution_event::task_came& e) {
  auto& task = e.task;
  const auto at = attempts_.find(task->ref);
  if (at != attempts_.end() && !at->second.stopping) return take(at->second, std::move(task));
  const auto may_come =
      at == attempts_.end() && task->ref.request.run == options_.run && !is_over(task->ref) && !ending_;
  if (!may_come) return refuse(std::move(task));
  auto& early = early_[task->ref];
  if (early.tasks.empty()) early.until = now_ + options_.early_patience;
  if (early.tasks.size() >= options_.most_early) return refuse(std::move(task));
  early.tasks.push_back(std::move(task));
}

void execution::take(attempt& a, hosted_task_ptr task) {
  if (!a.seen.insert(key_of(task->id)).second) return;                  // repeated
  if (a.is_gang && !a.ranks.insert(task->id.partition).second) return;  // a rank runs once in an attempt
  const bool may_sleep = (a.in_process || a.on_host) && !a.has_threads;
  if (may_sleep && a.threads_at == never && !a.entered) {
    a.threads_at = now_ + (a.in_process ? options_.enter_patience : options_.sleep_patience);
  }
  if (a.in_process && may_sleep) return add(effect::come{std::move(task)});
  add(effect::push{std::move(task)});
}

void execution::handle(execution_event::cancel& e) {
  for (auto& [ref, early] : early_) {
    if (belongs(e.task, ref.request) &&
        std::erase_if(early.tasks, [&](const auto& task) { return task->id == e.task; }) != 0) {
      return;
    }
  }
  for (auto& [ref, a] : attempts_) {
    if (!belongs(e.task, ref.request) || a.stopping || !a.seen.contains(key_of(e.task))) continue;
    add(effect::withdraw{ref, e.task, e.why});
  }
}

void execution::handle(execution_event::withdrawn& e) {
  const auto at = attempts_.find(e.ref);
  if (at == attempts_.end()) return;
  at->second.seen.erase(key_of(e.task));
  at->second.ranks.erase(e.task.partition);
}

void execution::refuse(hosted_task_ptr task) {
  add(effect::refuse{std::move(task), "the executor does not hold this attempt"});
}

void execution::refuse_early(const attempt_ref& ref) {
  auto early = early_.extract(ref);
  if (!early) return;
  for (auto& task : early.mapped().tasks) refuse(std::move(task));
}

void execution::handle(execution_event::timer&) {
  std::vector<attempt_ref> late;
  for (const auto& [ref, early] : early_) {
    if (early.until <= now_) late.push_back(ref);
  }
  for (const auto& ref : late) refuse_early(ref);
  for (auto& [ref, a] : attempts_) {
    if (a.threads_at > now_) continue;
    a.threads_at = never;
    a.has_threads = true;
    add(effect::start_threads{ref});
  }
}

// ---- ranks ---------------------------------------------------------------------------------------------------------

void execution::handle(execution_event::rank_joined& e) {
  auto* a = running(e.ref);
  if (a == nullptr || a->all_joined) return;
  a->all_joined = e.everyone;
  if (e.everyone || ++a->joined == a->slots) report(ranks_joined{e.ref, e.everyone, e.meets});
}

void execution::handle(execution_event::rank_returned& e) {
  auto* a = running(e.ref);
  if (a == nullptr) return;
  if (++a->returned == a->slots) stop(*a, {errc::aborted, "all ranks have returned", {}, {}});
}

// ---- what is held --------------------------------------------------------------------------------------------------

execution::attempt* execution::running(const attempt_ref& ref) {
  const auto at = attempts_.find(ref);
  return at == attempts_.end() || at->second.stopping ? nullptr : &at->second;
}

bool execution::is_over(const attempt_ref& ref) const {
  return over_.contains(ref);
}

void execution::remember(const attempt_ref& ref) {
  permitted_early_.erase(ref);
  if (!over_.insert(ref).second) return;
  over_in_order_.push_back(ref);
  if (over_.size() <= options_.most_over) return;
  over_.erase(over_in_order_.front());
  over_in_order_.pop_front();
}

}  // namespace hydrogen::gang
