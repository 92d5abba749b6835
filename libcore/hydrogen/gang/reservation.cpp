#include <hydrogen/gang/reservation.hpp>

#include <algorithm>

namespace hydrogen::gang {
namespace {

std::string name_of(const attempt_ref& ref) {
  return to_string(ref.request) + " " + to_string(ref.attempt);
}

term_id term_of(const to_agent& message) {
  return std::visit([](const auto& m) { return m.term; }, message);
}
boot_id addressee(const to_agent& message) {
  return std::visit([](const auto& m) { return m.agent; }, message);
}

}  // namespace

reservation::reservation(reservation_options options, boot_id boot) : options_(std::move(options)), boot_(boot) {}

reservation::effects reservation::on(const event& e, time_point now) {
  now_ = now;
  out_.clear();
  std::visit([this](const auto& x) { handle(x); }, e);
  return std::exchange(out_, {});
}

std::vector<entry_report> reservation::entries() const {
  std::vector<entry_report> all;
  for (const auto& [ref, e] : entries_) {
    const auto x = executors_.find(ref.request.run);
    all.push_back({ref, e.kind, e.state, e.slots, e.joined, e.executor,
                   x != executors_.end() && x->second.boot == e.executor ? x->second.endpoint : std::string(), e.each,
                   e.meets});
  }
  return all;
}

// ---- the coordinator -----------------------------------------------------------------------------------------------

void reservation::handle(const reservation_event::coordinator_connected&) {
  connected_ = true;
  first_list_ = lists_ + 1;
  enlisted_ = false;
  contact_lost_ = never;
  if (!expelled_) send_list();
  // What was said into a broken connection is said again at once.
  for (auto& [ref, u] : gone_) u.next = now_;
  for (auto& [boot, u] : lost_) u.next = now_;
}

void reservation::handle(const reservation_event::coordinator_lost&) {
  connected_ = false;
  enlisted_ = false;
  if (contact_lost_ == never) contact_lost_ = now_;
  std::vector<attempt_ref> starting;
  for (const auto& [ref, e] : entries_) {
    if (e.state == entry_state::starting) starting.push_back(ref);
  }
  for (const auto& ref : starting) {
    end(*find(ref), true, end_cause::expired, refusal_kind::busy,
        error{
            errc::disconnected, "contact with the coordinator was lost while the executor started", options_.node, {}});
  }
}

void reservation::handle(const reservation_event::coordinator_said& e) {
  if (addressee(e.message) != boot_) return;
  const auto term = term_of(e.message);
  if (term < term_) {
    log(false, "a message of the old term " + to_string(term) + " was refused");
    return;
  }
  if (term > term_) adopt(term);
  if (expelled_) return;
  std::visit([this](const auto& m) { order(m); }, e.message);
}

void reservation::adopt(term_id term) {
  term_ = term;
  tombstones_.clear();  // what they guard against carries a lower term, which is refused
  enlisted_ = false;
  next_list_ = now_ + options_.retry;
}

void reservation::send_list() {
  enlist list{boot_, options_.node, options_.slots, ++lists_, term_, entries(), {}};
  list.has = options_.has;
  list.labels = options_.labels;
  for (const auto& [run, x] : executors_) list.executors.push_back({run, x.was_ready ? x.boot : boot_id{}});
  for (const auto& [ref, u] : gone_) {
    if (std::get<entry_report_news>(u.message).news == entry_news::finished) list.finished.push_back(ref);
  }
  next_list_ = now_ + options_.retry;
  send(std::move(list));
}

void reservation::order(const follow&) {
  if (!enlisted_) send_list();
}

void reservation::order(const enlisted& m) {
  if (m.list >= first_list_) enlisted_ = true;  // an answer to an older connection says nothing about this one
  for (const auto& ref : m.disown) {
    if (auto* e = find(ref)) {
      end(*e, false, end_cause::restart);
    } else {
      answer_absent(ref, entry_news::absent, refusal_kind::dead);
    }
  }
}

void reservation::order(const expelled&) {
  log(true, "the coordinator has declared this agent dead: ending its executors, then joining under a new boot");
  expelled_ = true;
  for (auto& [run, x] : executors_) {
    if (x.state != executor_state::ending) end_executor(x);
  }
  // What never reached an executor goes at once; the rest goes with the executors.
  std::vector<attempt_ref> all;
  for (const auto& [ref, e] : entries_) {
    if (!e.told_executor) all.push_back(ref);
  }
  for (const auto& ref : all) bury(ref);
  expulsion_may_be_over();
}

void reservation::expulsion_may_be_over() {
  if (!expelled_ || !executors_.empty()) return;
  invariant(entries_.empty(), "an entry outlived its executor");
  boot_ = {hash_mix(boot_.value, 0x626f6f74) | 1};
  executors_started_ = 0;
  tombstones_.clear();
  gone_.clear();
  lost_.clear();
  ending_runs_.clear();
  expelled_ = false;
  enlisted_ = false;
  emit(reservation_effect::new_boot{boot_});
}

// ---- devices -------------------------------------------------------------------------------------------------------

std::vector<held_devices> reservation::devices_of(const attempt_ref& ref) const {
  const auto at = entries_.find(ref);
  return at == entries_.end() ? std::vector<held_devices>() : at->second.devices;
}

/// Free ones: there are as many, as `taken_` says. A device that nobody had whose executor died goes first, then that
/// where it was the longest ago, then the lowest number: one that is broken does not get every retry.
std::vector<held_devices> reservation::take_devices(const resources& each, std::uint32_t slots) {
  std::vector<held_devices> all;
  for (const auto& d : each.devices) {
    if (d.count == 0) continue;
    std::set<std::uint32_t> used;
    for (const auto& [ref, e] : entries_) {
      for (const auto& held : e.devices) {
        if (held.kind == d.kind) used.insert(held.numbers.begin(), held.numbers.end());
      }
    }
    std::vector<std::pair<std::uint64_t, std::uint32_t>> free;  // when it last failed, number
    for (const auto& has : options_.has.devices) {
      if (has.kind != d.kind) continue;
      for (std::uint32_t number = 0; number < has.count; ++number) {
        if (used.contains(number)) continue;
        const auto failed = device_failures_.find({d.kind, number});
        free.emplace_back(failed == device_failures_.end() ? 0 : failed->second, number);
      }
    }
    std::sort(free.begin(), free.end());
    free.resize(std::min<std::size_t>(free.size(), d.for_slots(slots)));
    held_devices taken{d.kind, d.count, std::max(1U, d.shared_by), {}};
    for (const auto& [failed, number] : free) taken.numbers.push_back(number);
    std::sort(taken.numbers.begin(), taken.numbers.end());
    all.push_back(std::move(taken));
  }
  return all;
}

// ---- entries -------------------------------------------------------------------------------------------------------

reservation::entry* reservation::find(const attempt_ref& ref) {
  const auto at = entries_.find(ref);
  return at == entries_.end() ? nullptr : &at->second;
}

bool reservation::is_dead(const attempt_ref& ref) const {
  const auto at = tombstones_.find(ref.request);
  return at != tombstones_.end() && ref.attempt <= at->second;
}

void reservation::answer_absent(const attempt_ref& ref, entry_news news, refusal_kind kind) {
  auto& dead = tombstones_[ref.request];
  dead = std::max(dead, ref.attempt);
  entry_report_news m;
  m.term = term_;
  m.agent = boot_;
  m.ref = ref;
  m.news = news;
  m.refusal = kind;
  // Why it is gone, if this agent ended it by itself and the coordinator has not heard of it.
  if (const auto at = gone_.find(ref); at != gone_.end()) {
    m = std::get<entry_report_news>(at->second.message);
    m.term = term_;
  }
  send(std::move(m));
}

void reservation::tell_news(const entry& e, entry_news news) {
  entry_report_news m;
  m.term = term_;
  m.agent = boot_;
  m.ref = e.ref;
  m.news = news;
  m.cause = e.cause;
  m.refusal = e.refusal;
  m.detail = e.detail;
  m.executor = e.executor;
  m.everyone = e.everyone;
  m.meets = e.meets;
  if (const auto x = executors_.find(e.app.run); x != executors_.end() && x->second.boot == e.executor) {
    m.endpoint = x->second.endpoint;
  }
  send(std::move(m));
}

void reservation::order(const reserve& m) {
  if (auto* e = find(m.ref)) {  // a live entry before the tombstone
    if (e->state != entry_state::draining) {
      tell_news(*e, e->state == entry_state::committed ? entry_news::committed : entry_news::reserved);
    }
    return;
  }
  if (is_dead(m.ref)) return answer_absent(m.ref, entry_news::refused, refusal_kind::dead);
  const node_size size{options_.slots, options_.has, {}};
  if (m.slots > size.room({m.each, {}, {}}, taken_) || m.slots == 0)
    return answer_absent(m.ref, entry_news::refused, refusal_kind::busy);
  entry e;
  e.ref = m.ref;
  e.kind = m.kind;
  e.app = m.app;
  e.app.run = m.ref.request.run;
  e.slots = m.slots;
  e.deadline = now_ + options_.expiry;
  e.each = m.each;
  taken_.slots += m.slots;
  e.devices = take_devices(m.each, m.slots);
  add(taken_.all, m.each, m.slots);
  auto& kept = entries_.emplace(m.ref, std::move(e)).first->second;
  const auto x = executors_.find(kept.app.run);
  if (x != executors_.end() && x->second.state == executor_state::ready) {
    accept(kept, x->second);  // until the commit or the go it may expire as before
  } else {
    tell_news(kept, entry_news::reserved);
  }
}

void reservation::order(const entry_order& m) {
  if (m.verb == entry_verb::acknowledge_gone) {
    gone_.erase(m.ref);
    return;
  }
  auto* e = find(m.ref);
  if (e == nullptr) return answer_absent(m.ref, entry_news::absent, refusal_kind::dead);
  switch (m.verb) {
    case entry_verb::commit:
      if (e->state == entry_state::reserved) return commit_entry(*e);
      if (e->state == entry_state::committed) e->deadline = never;
      if (e->state != entry_state::starting && e->state != entry_state::draining) tell_news(*e, entry_news::committed);
      return;
    case entry_verb::go:
      return go(*e);
    case entry_verb::permit:
      if (e->kind == request_kind::gang && e->told_executor && e->state != entry_state::draining) {
        emit(reservation_effect::tell_executor{e->executor, permit_ranks{e->ref}});
      }
      return;
    case entry_verb::enter:
      if (e->kind == request_kind::gang && (e->state == entry_state::committed || e->state == entry_state::joining)) {
        e->state = entry_state::running;
        // Those that another member reported wait at one gate with its ranks, and it is told.
        if (e->joined) emit(reservation_effect::tell_executor{e->executor, enter_ranks{e->ref}});
        return report_later(*e);
      }
      if (e->state == entry_state::running) report(*e);
      return;
    case entry_verb::close:
      return end(*e, false, end_cause::none);
    case entry_verb::abort:
      // Said before the Go only, so no job knows of it, and its executor cannot.
      if (e->state == entry_state::committed) e->told_executor = false;
      [[fallthrough]];
    case entry_verb::revoke:
      return end(*e, false, end_cause::cancelled);
    case entry_verb::acknowledge_gone:
      return;
  }
}

void reservation::go(entry& e) {
  if (e.kind == request_kind::gang) {
    if (e.state == entry_state::committed) begin_joining(e);
    if (e.joined && e.state != entry_state::draining) tell_news(e, entry_news::joined);
    return;
  }
  if (e.state == entry_state::committed) {
    e.told_executor = true;
    emit(reservation_effect::tell_executor{e.executor, accept_lease{e.ref, e.slots, e.devices}});
    e.state = entry_state::running;
    e.deadline = never;
  }
  if (e.state == entry_state::running) tell_news(e, entry_news::entered);
}

void reservation::begin_joining(entry& e) {
  e.state = entry_state::joining;
  e.deadline = now_ + options_.join_timeout;
}

void reservation::commit_entry(entry& e) {
  e.state = entry_state::starting;
  e.deadline = never;  // the executor's start has one
  const auto x = executors_.find(e.app.run);
  if (x == executors_.end()) {
    start(e.app);
  } else if (x->second.state == executor_state::ready) {
    accept(e, x->second);
  }  // else it waits: for the start, or for the death of one that ends and the start of the next
}

void reservation::report_later(entry& e) {
  e.deadline = now_ + options_.report_after;
  if (options_.report_after == duration::zero()) report(e);
}

void reservation::report(entry& e) {
  e.deadline = never;
  tell_news(e, entry_news::entered);
}

void reservation::accept(entry& e, const executor& x) {
  e.state = entry_state::committed;
  e.executor = x.boot;
  e.told_executor = e.kind == request_kind::gang;  // from now on its job may
  if (e.kind == request_kind::gang && !e.devices.empty()) {
    emit(reservation_effect::tell_executor{e.executor, lend_devices{e.ref, e.devices}});
  }
  tell_news(e, entry_news::committed);
}

void reservation::end(entry& e, bool by_itself, end_cause cause, refusal_kind refusal, std::optional<error> detail) {
  if (e.state == entry_state::draining) return;  // the first reason counts; the news come when it is confirmed
  e.by_itself = by_itself;
  e.cause = cause;
  e.refusal = refusal;
  e.detail = std::move(detail);
  if (!e.told_executor) return bury(e.ref);
  e.state = entry_state::draining;
  e.deadline = now_ + options_.drain_grace;
  auto why = e.detail
                 ? *e.detail
                 : error{errc::aborted,
                         cause == end_cause::none ? "the attempt is over" : "the attempt was ended by the coordinator",
                         options_.node,
                         {}};
  emit(reservation_effect::tell_executor{e.executor, stop_attempt{e.ref, std::move(why)}});
}

void reservation::bury(attempt_ref ref) {
  const auto at = entries_.find(ref);
  invariant(at != entries_.end(), "the entry to bury is not there");
  const entry e = std::move(at->second);
  entries_.erase(at);
  taken_.slots -= e.slots;
  subtract(taken_.all, e.each, e.slots);
  auto& dead = tombstones_[ref.request];
  dead = std::max(dead, ref.attempt);
  if (expelled_) return;
  tell_news(e, e.returned ? entry_news::finished : entry_news::gone);
  if (e.returned || e.by_itself) {
    gone_[ref] = {std::get<reservation_effect::tell_coordinator>(out_.back()).message, now_ + options_.retry};
  }
  if (e.by_itself) {
    log(true, name_of(ref) + " ended here: " + (e.detail ? e.detail->message() : "its executor is gone"));
  }
  run_may_be_over(ref.request.run);
}

}  // namespace hydrogen::gang
