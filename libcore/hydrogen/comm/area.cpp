#include <hydrogen/comm/area_layout.hpp>

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>

namespace hydrogen::comm {
namespace {

constexpr std::align_val_t page{4096};
constexpr std::uint64_t area_magic = 0x6165726148594453;  // also the version of the layout

constexpr std::uint32_t inside_spins = 16;

// Where copying and everyone reading everyone's slot costs as much as a second barrier: the barrier's cost grows with
// the number of ranks, the reading with its square.
std::size_t slot_size_for(std::size_t ranks) {
  return std::clamp<std::size_t>(std::min(1024 * ranks, 65536 / ranks), 1024, 8192) / 64 * 64;
}

// Two pieces of every rank of a small gang stay in the second-level cache; a large gang shares 48 MiB.
std::size_t stage_size_for(std::size_t ranks) {
  return std::clamp<std::size_t>((std::size_t{16} << 20) / ranks, 4096, 128 << 10) / 4096 * 4096;
}

std::size_t round_up(std::size_t n, std::size_t to) {
  return (n + to - 1) / to * to;
}

}  // namespace

area::area(std::uint32_t ranks)
    : ranks_(ranks),
      wait_(patience_for(ranks)),
      slot_size_(slot_size_for(ranks)),
      stage_size_(0),
      futex_(futex_reach::process) {
  const auto where = places_for(ranks);
  auto* memory = static_cast<std::byte*>(::operator new(where.stages, page));
  keep_ = std::shared_ptr<void>(memory, [](void* p) { ::operator delete(p, page); });
  lie_at(memory);
  stages_ = nullptr;
  construct();
}

area::area(std::byte* memory, std::uint32_t ranks, reach, std::shared_ptr<void> keep)
    : ranks_(ranks),
      wait_(patience_for(ranks)),
      slot_size_(slot_size_for(ranks)),
      stage_size_(stage_size_for(ranks)),
      futex_(futex_reach::host),
      keep_(std::move(keep)) {
  lie_at(memory);
}

area::places area::places_for(std::uint32_t ranks) {
  places p{};
  p.seats = round_up(sizeof(header), 128);
  p.board = p.seats + sizeof(seat) * ranks;
  p.slots = round_up(p.board + board_size(ranks) * ranks, 4096);
  p.stages = round_up(p.slots + 2 * slot_size_for(ranks) * ranks, 4096);
  return p;
}

void area::lie_at(std::byte* memory) {
  const auto where = places_for(ranks_);
  header_ = bell_ = reinterpret_cast<header*>(memory);
  seats_ = reinterpret_cast<seat*>(memory + where.seats);
  board_ = reinterpret_cast<std::atomic<std::uint64_t>*>(memory + where.board);
  slots_ = memory + where.slots;
  stages_ = memory + where.stages;
}

void area::construct() {
  new (header_) header{};
  for (std::uint32_t r = 0; r < ranks_; ++r) new (seats_ + r) seat{};
  std::memset(static_cast<void*>(board_), 0, board_size(ranks_) * ranks_);
  header_->ranks = ranks_;
  header_->magic = area_magic;
}

std::size_t area::bytes_on_host(std::uint32_t ranks) {
  return places_for(ranks).stages + 3 * stage_size_for(ranks) * ranks;
}

std::shared_ptr<area> area::create(std::byte* memory, std::uint32_t ranks, std::shared_ptr<void> keep) {
  std::shared_ptr<area> made(new area(memory, ranks, reach::host, std::move(keep)));
  made->construct();
  return made;
}

expected<std::shared_ptr<area>> area::attach(std::byte* memory, std::uint32_t ranks, std::shared_ptr<void> keep) {
  std::shared_ptr<area> there(new area(memory, ranks, reach::host, std::move(keep)));
  if (there->header_->magic != area_magic || there->header_->ranks != ranks) {
    return fail(errc::mismatch, "the ranks were told different sizes of the gang: " +
                                    std::to_string(there->header_->ranks) + " and " + std::to_string(ranks));
  }
  return there;
}

std::size_t area::bytes_used() const {
  const auto where = places_for(ranks_);
  return header_->staged.load(std::memory_order_relaxed) != 0 ? bytes_on_host(ranks_) : where.stages;
}

std::byte* area::slot(std::uint32_t rank) {
  const auto call = seats_[rank].entered.load(std::memory_order_relaxed);
  return slots_ + (2 * std::size_t{rank} + call % 2) * slot_size_;
}

std::byte* area::stage(std::uint32_t rank, std::uint64_t turn) {
  if (header_->staged.load(std::memory_order_relaxed) == 0) header_->staged.store(1, std::memory_order_relaxed);
  return stages_ + (3 * std::size_t{rank} + turn % 3) * stage_size_;
}

offered area::offer_of(std::uint32_t reader, std::uint32_t rank) const {
  const auto call = seats_[reader].entered.load(std::memory_order_relaxed) - 1;
  const auto& said = seats_[rank].said[call % 2];
  offered o{said.size, nullptr, 0, said.aside, said.is, said.parted};
  if (said.size <= slot_size_) {
    o.here = slots_ + (2 * std::size_t{rank} + call % 2) * slot_size_;
  } else if (said.is == offer::place::gang_buffer) {
    o.here = base_ + said.data;
  } else if (!is_on_host()) {
    o.here = reinterpret_cast<const std::byte*>(said.data);
  }
  if (said.is == offer::place::own_memory) o.there = said.data;
  return o;
}

bool area::is_complete(std::uint64_t target) const {
  return (header_->arrived.load(std::memory_order_seq_cst) & count_mask) >= target;
}

std::uint64_t area::next_target(std::uint32_t rank) {
  auto& own = seats_[rank].barriers;
  const auto number = own.load(std::memory_order_relaxed) + 1;
  own.store(number, std::memory_order_relaxed);
  return number * ranks_;
}

area::arrival area::arrive(std::uint64_t target) {
  auto& arrived = header_->arrived;
  auto seen = arrived.load(std::memory_order_relaxed);
  do {
    if ((seen & broken_bit) != 0) return arrival::broken;
  } while (!arrived.compare_exchange_weak(seen, seen + 1, std::memory_order_seq_cst, std::memory_order_acquire));
  return seen + 1 == target ? arrival::last : arrival::early;
}

void area::wake() noexcept {
  auto& h = bell();
  h.news.fetch_add(1, std::memory_order_seq_cst);
  if (h.sleepers.load(std::memory_order_seq_cst) != 0) futex_wake_all(h.news, futex_);
}

/// The step was sequentially consistent, as arriving is: whoever counts itself as a sleeper after this look sees it.
void area::wake_sleepers() noexcept {
  if (bell().sleepers.load(std::memory_order_seq_cst) != 0) wake();
}

bool area::look(std::uint32_t rank, std::uint64_t target, moment in) const {
  const auto spin = [&](std::uint32_t times) {
    for (std::uint32_t i = 0; i < times; ++i) {
      if (is_complete(target)) return true;
      spin_pause();
    }
    return is_complete(target);
  };
  if (spin(wait_.spins)) return true;
  // Before yielding, which would let ranks on one CPU go on by turns there, and never come to sleep.
  const bool apart = wait_.spins != 0 && leave_cpu_to_others(rank);
  // Inside a call the others work on their parts, and a sleep at each barrier would cost more than what is awaited.
  if (in == moment::inside && apart && spin(inside_spins * wait_.spins)) return true;
  for (std::uint32_t i = 0; i < wait_.yields; ++i) {
    ::sched_yield();
    if (is_complete(target)) return true;
  }
  return false;
}

expected<void> area::enter(std::uint32_t rank, const call_plan& plan, const offer& what, area_wait& how) {
  auto& self = seats_[rank];
  const auto call = self.entered.load(std::memory_order_relaxed);
  self.said[call % 2].set(plan, what, base_);
  self.cpu.store(static_cast<std::uint32_t>(::sched_getcpu()), std::memory_order_relaxed);
  self.entered.store(call + 1, std::memory_order_release);
  if (auto ok = meet(rank, how, moment::entering); !ok) return ok;
  return all_alike(rank, call);
}

/// Everyone sees the same and nobody touches data: each rank fails by itself.
expected<void> area::all_alike(std::uint32_t rank, std::uint64_t call) const {
  const auto hash = seats_[rank].said[call % 2].hash;
  for (std::uint32_t r = 0; r < ranks_; ++r) {
    if (seats_[r].said[call % 2].hash != hash) return unexpected(trouble(rank));
  }
  return {};
}

expected<void> area::meet(std::uint32_t rank, area_wait& how, moment in) {
  const auto target = next_target(rank);
  seats_[rank].heard.store(coarse_now().time_since_epoch().count(), std::memory_order_relaxed);
  // Here too: ranks that always meet without sleeping look nowhere else.
  if (how.abort.is_set()) {
    give_up(rank, target, how.abort.reason());
    return unexpected(how.abort.reason());
  }
  switch (arrive(target)) {
    case arrival::broken:
      return unexpected(how.abort.is_set() ? how.abort.reason() : reason());
    case arrival::last:
      wake_sleepers();
      return {};
    case arrival::early:
      break;
  }
  return look(rank, target, in) ? expected<void>() : wait(rank, target, how, in);
}

void area::finish(std::uint32_t rank) {
  const auto target = next_target(rank);
  const auto how = arrive(target);
  invariant(how != arrival::broken, "a gang area broke inside a call that all ranks have entered");
  if (how == arrival::last) return wake_sleepers();
  auto& h = bell();
  while (!look(rank, target, moment::inside)) {
    h.sleepers.fetch_add(1, std::memory_order_seq_cst);
    const auto seen = h.news.load(std::memory_order_seq_cst);
    if (!is_complete(target)) {
      const wakes_here stay(has_own_cpu(rank));
      futex_wait(h.news, seen, never, futex_);
    }
    h.sleepers.fetch_sub(1, std::memory_order_relaxed);
  }
}

bool area::leave_cpu_to_others(std::uint32_t rank) const {
  auto& self = seats_[rank];
  const auto mine = static_cast<std::uint32_t>(::sched_getcpu());
  const auto barriers = self.barriers.load(std::memory_order_relaxed);
  std::array<std::uint32_t, 64> cpus;
  if (ranks_ > cpus.size()) return false;
  bool shared = false;
  for (std::uint32_t r = 0; r < ranks_; ++r) {
    cpus[r] = r == rank ? mine : seats_[r].cpu.load(std::memory_order_relaxed);
    shared |= r != rank && cpus[r] == mine && seats_[r].barriers.load(std::memory_order_relaxed) < barriers;
  }
  if (!shared) return true;
  const auto moved_to = move_apart(mine, std::span(cpus).first(ranks_));
  self.cpu.store(moved_to, std::memory_order_relaxed);
  return moved_to != mine;
}

bool area::has_own_cpu(std::uint32_t rank) const {
  if (wait_.spins == 0) return false;
  const auto mine = static_cast<std::uint32_t>(::sched_getcpu());
  for (std::uint32_t r = 0; r < ranks_; ++r) {
    if (r != rank && seats_[r].cpu.load(std::memory_order_relaxed) == mine) return false;
  }
  return true;
}

expected<void> area::wait(std::uint32_t rank, std::uint64_t target, area_wait& how, moment in) {
  auto& h = bell();
  // Memory is taken for it, and few ask.
  if (how.again != 0ns) how.report = [this, rank, &how] { return report_of(rank, how.deadline.waited()); };
  mark waits(part_.whole ? *part_.whole : *this, part_.whole ? name(rank) : rank);
  auto mark_at = waits.since() + long_wait;
  for (;;) {
    h.sleepers.fetch_add(1, std::memory_order_seq_cst);
    const auto seen = h.news.load(std::memory_order_seq_cst);
    error why{errc::none, {}, {}, {}};
    const auto arrived = header_->arrived.load(std::memory_order_seq_cst);
    const bool done = (arrived & count_mask) >= target;
    if (!done) {
      if (how.abort.is_set()) {
        why = how.abort.reason();
      } else if ((arrived & broken_bit) != 0) {
        why = reason();
      } else {
        why = trouble(rank);
        if (why.code == errc::none && how.also) why = how.also(how);
        // And whenever it is woken: it may be for another one that it waits.
        const bool is_long = now() >= mark_at;
        if (is_long) set_mark(waits, rank);
        if (why.code == errc::none) {
          const wakes_here stay(has_own_cpu(rank));
          if (!futex_wait(h.news, seen, is_long ? how.next() : std::min(how.next(), mark_at), futex_) &&
              now() >= how.deadline.at()) {
            if (how.also) why = how.also(how);
            if (why.code == errc::none) why = overdue(rank, how.deadline.timeout());
          }
        }
      }
    }
    h.sleepers.fetch_sub(1, std::memory_order_relaxed);
    if (done) return {};
    if (why.code == errc::none) {
      if (look(rank, target, in)) return {};
      continue;
    }
    auto final = give_up(rank, target, why);
    if (final.code == errc::none) return {};
    // Its own abort is what a rank reports, even if another gave up first.
    return unexpected(how.abort.is_set() ? how.abort.reason() : std::move(final));
  }
}

}  // namespace hydrogen::comm
