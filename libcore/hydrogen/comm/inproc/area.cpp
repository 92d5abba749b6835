#include <hydrogen/comm/inproc/area.hpp>

#include <sched.h>

#include <algorithm>
#include <new>

namespace hydrogen::comm::inproc {
namespace {

constexpr std::align_val_t page{4096};

// Where copying and everyone reading everyone's slot costs as much as a second barrier: the barrier's cost grows with
// the number of ranks, the reading with its square.
std::size_t slot_size_for(std::size_t ranks) {
  return std::clamp<std::size_t>(std::min(1024 * ranks, 65536 / ranks), 1024, 8192) / 64 * 64;
}

}  // namespace

area::area(std::uint32_t size)
    : size_(size),
      wait_(patience_for(size)),
      slot_size_(slot_size_for(size)),
      seats_(std::make_unique<seat[]>(size)),
      slots_(static_cast<std::byte*>(::operator new(2 * slot_size_ * size, page)),
             [](std::byte* p) { ::operator delete(p, page); }) {}

std::byte* area::slot(std::uint32_t rank) {
  const auto call = seats_[rank].entered.load(std::memory_order_relaxed);
  return slots_.get() + (2 * std::size_t{rank} + call % 2) * slot_size_;
}

byte_view area::data_of(std::uint32_t reader, std::uint32_t rank) const {
  const auto call = seats_[reader].entered.load(std::memory_order_relaxed) - 1;
  return seats_[rank].said[call % 2].data;
}

bool area::arrive(std::uint64_t target) {
  auto seen = arrived_.load(std::memory_order_relaxed);
  do {
    if ((seen & broken_bit) != 0) return false;
  } while (!arrived_.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel, std::memory_order_relaxed));
  if (seen + 1 == target) wake();
  return true;
}

void area::wake() noexcept {
  news_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) != 0) futex_wake_all(news_);
}

bool area::look(std::uint64_t target) const {
  if (is_complete(target)) return true;
  for (std::uint32_t i = 0; i < wait_.spins; ++i) {
    spin_pause();
    if (is_complete(target)) return true;
  }
  for (std::uint32_t i = 0; i < wait_.yields; ++i) {
    ::sched_yield();
    if (is_complete(target)) return true;
  }
  return false;
}

expected<void> area::enter(std::uint32_t rank, const call_plan& plan, byte_view data, duration timeout,
                           abort_word& abort) {
  auto& self = seats_[rank];
  const auto call = self.entered.load(std::memory_order_relaxed);
  self.said[call % 2] = {plan, data};
  self.entered.store(call + 1, std::memory_order_release);
  const auto target = ++self.barriers * size_;
  // Here too: ranks that always meet without sleeping look nowhere else.
  if (abort.is_set()) {
    give_up(target, abort.reason());
    return unexpected(abort.reason());
  }
  if (!arrive(target)) return unexpected(abort.is_set() ? abort.reason() : reason());
  if (!look(target)) {
    if (auto ok = wait(rank, target, timeout, abort); !ok) return ok;
  }
  for (std::uint32_t r = 0; r < size_; ++r) {
    if (seats_[r].said[call % 2].plan.hash == plan.hash) continue;
    // Everyone sees the same and nobody touches data: each rank fails by itself.
    return unexpected(trouble(rank));
  }
  return {};
}

void area::finish(std::uint32_t rank) {
  const auto target = ++seats_[rank].barriers * size_;
  invariant(arrive(target), "a gang area broke inside a call that all ranks have entered");
  while (!look(target)) {
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    const auto seen = news_.load(std::memory_order_seq_cst);
    if (!is_complete(target)) futex_wait(news_, seen, never);
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
  }
}

expected<void> area::wait(std::uint32_t rank, std::uint64_t target, duration timeout, abort_word& abort) {
  const auto deadline = deadline_after(timeout);
  for (;;) {
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    const auto seen = news_.load(std::memory_order_seq_cst);
    error why{errc::none, {}, {}, {}};
    const auto arrived = arrived_.load(std::memory_order_acquire);
    bool done = (arrived & ~broken_bit) >= target;
    if (!done) {
      if (abort.is_set()) {
        why = abort.reason();
      } else if ((arrived & broken_bit) != 0) {
        why = reason();
      } else if (why = trouble(rank); why.code == errc::none && !futex_wait(news_, seen, deadline)) {
        why = late(rank, timeout);
      }
    }
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
    if (done) return {};
    if (why.code == errc::none) {
      if (look(target)) return {};
      continue;
    }
    auto final = give_up(target, why);
    if (final.code == errc::none) return {};
    // Its own abort is what a rank reports, even if another gave up first.
    return unexpected(abort.is_set() ? abort.reason() : std::move(final));
  }
}

error area::trouble(std::uint32_t rank) const {
  const auto calls = seats_[rank].entered.load(std::memory_order_relaxed);
  const auto parity = (calls - 1) % 2;
  const auto& mine = seats_[rank].said[parity].plan;
  std::vector<std::pair<std::uint32_t, std::string>> all;
  bool mismatch = false;
  for (std::uint32_t r = 0; r < size_; ++r) {
    const auto& other = seats_[r];
    // `left` first: what a rank did before it left is visible then.
    const bool left = other.left.load(std::memory_order_acquire);
    const auto entered = other.entered.load(std::memory_order_acquire);
    if (entered >= calls) {
      all.emplace_back(r, other.said[parity].plan.text());
      mismatch |= other.said[parity].plan.hash != mine.hash;
    } else if (left) {
      return left_error(r, entered, entered > 0 ? other.said[1 - parity].plan.text() : "", mine.text());
    }
  }
  if (mismatch) return mismatch_error(std::move(all));
  return {errc::none, {}, {}, {}};
}

error area::late(std::uint32_t rank, duration timeout) const {
  const auto calls = seats_[rank].entered.load(std::memory_order_relaxed);
  const auto parity = (calls - 1) % 2;
  std::vector<rank_report> reports;
  for (std::uint32_t r = 0; r < size_; ++r) {
    const bool there = seats_[r].entered.load(std::memory_order_acquire) >= calls;
    // The call before this one; call 0 is the join.
    reports.push_back({r, there, calls > 2 ? seats_[r].said[1 - parity].plan.text() : ""});
  }
  return missing_error(seats_[rank].said[parity].plan.text(), timeout, reports);
}

error area::give_up(std::uint64_t target, error why) {
  error result = why;
  {
    std::lock_guard lock(mutex_);
    auto seen = arrived_.load(std::memory_order_acquire);
    for (;;) {
      if ((seen & ~broken_bit) >= target) return {errc::none, {}, {}, {}};
      if ((seen & broken_bit) != 0) return reason_;
      // Before the bit, under the lock that readers of the reason take.
      reason_ = why;
      if (arrived_.compare_exchange_weak(seen, seen | broken_bit, std::memory_order_acq_rel, std::memory_order_acquire))
        break;
    }
  }
  wake();
  return result;
}

error area::reason() const {
  std::lock_guard lock(mutex_);
  return reason_;
}

void area::leave(std::uint32_t rank) {
  seats_[rank].left.store(true, std::memory_order_release);
  wake();
}

}  // namespace hydrogen::comm::inproc
