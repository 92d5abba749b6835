// The gate of a gang area: ranks come, sleep there, and pass when all are here and somebody has opened.

#include <hydrogen/comm/area_layout.hpp>

#include <algorithm>
#include <utility>

namespace hydrogen::comm {

expected<bool> area::come(std::uint32_t rank, const call_plan& plan) {
  auto& self = seats_[rank];
  self.said[0].set(plan, {}, nullptr);
  introduce(rank);
  self.heard.store(coarse_now().time_since_epoch().count(), std::memory_order_relaxed);
  self.entered.store(1, std::memory_order_release);
  const auto how = arrive(next_target(rank));
  if (how == arrival::broken) return unexpected(reason());
  // Opened before? Either this sees it, or whoever opens sees that all are here.
  if (how == arrival::last && header_->open.load(std::memory_order_seq_cst) != 0) {
    wake();
    start();
  }
  return how == arrival::last;
}

expected<void> area::await_start(std::uint32_t rank, const start_limits& limits, abort_word& abort) {
  auto& h = *header_;  // a part has no gate
  const auto last_moment = deadline_after(limits.all_here);
  auto until = limits.slow ? std::min(last_moment, now() + limits.patience) : last_moment;
  bool patient = limits.slow != nullptr, all_here = false;
  for (;;) {
    h.sleepers.fetch_add(1, std::memory_order_seq_cst);
    const auto seen = h.news.load(std::memory_order_seq_cst);
    error why{errc::none, {}, {}, {}};
    bool late = false;
    const bool open = h.open.load(std::memory_order_seq_cst) != 0 &&
                      (h.arrived.load(std::memory_order_seq_cst) & count_mask) >= ranks_;
    if (!open) {
      if (abort.is_set()) {
        why = abort.reason();
      } else if ((h.arrived.load(std::memory_order_acquire) & broken_bit) != 0) {
        why = reason();
      } else if (why = trouble(rank); why.code == errc::none) {
        late = !futex_wait(h.news, seen, until, futex_);
      }
    }
    h.sleepers.fetch_sub(1, std::memory_order_relaxed);
    if (open) break;
    if (late && std::exchange(patient, false)) {
      limits.slow();
      until = last_moment;
    } else if (late && !all_here && is_complete(ranks_)) {
      all_here = true;
      until = deadline_after(limits.open);
    } else if (late) {
      why = all_here ? never_opened() : missing_error(report_of(rank, limits.all_here));
    }
    if (why.code == errc::none) continue;
    // No barrier is as far as this: the area breaks though all may have come.
    why = give_up(rank, count_mask, why);
    return unexpected(abort.is_set() ? abort.reason() : std::move(why));
  }
  return all_alike(rank, 0);
}

bool area::expect_sleeper() {
  header_->sleepers.fetch_add(1, std::memory_order_seq_cst);
  // Nothing has happened that anybody had to be woken for.
  if (!has_news()) return true;
  sleeper_woke();
  return false;
}

void area::move_sleeper(std::atomic<std::uint32_t>& from, std::uint32_t value) {
  futex_move(from, value, header_->news);
  // It does not compare: who came between has woken nobody.
  if (has_news()) futex_wake_all(header_->news, futex_);
}

bool area::has_news() const {
  return header_->news.load(std::memory_order_seq_cst) != 0;
}

void area::sleeper_woke() {
  header_->sleepers.fetch_sub(1, std::memory_order_relaxed);
}

void area::open() {
  if (header_->open.exchange(1, std::memory_order_seq_cst) != 0) return;
  // Nobody can go on before: the last one that comes wakes them.
  if (!is_complete(ranks_)) return;
  wake();
  start();
}

/// Both the last one that comes and who opens may find that it can begin.
void area::start() {
  std::vector<std::function<void()>> all;
  {
    std::lock_guard lock(start_mutex_);
    started_ = true;
    all.swap(on_start_);
  }
  for (const auto& begin : all) begin();
}

void area::on_start(std::function<void()> begin) {
  {
    std::lock_guard lock(start_mutex_);
    if (!started_) return on_start_.push_back(std::move(begin));
  }
  begin();
}

}  // namespace hydrogen::comm
