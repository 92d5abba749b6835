// What speaks against going on in a gang area, and how it breaks.

#include <hydrogen/comm/area_layout.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

namespace hydrogen::comm {

std::uint32_t area::presence_of(std::uint32_t rank) const {
  const auto here = seats_[rank].is.load(std::memory_order_acquire);
  return here == seat::here && part_.whole ? part_.whole->presence_of(part_.ranks[rank]) : here;
}

void area::leave(std::uint32_t rank) {
  seats_[rank].is.store(seat::left, std::memory_order_release);
  wake();
}

void area::lost(std::uint32_t rank) {
  std::uint32_t here = seat::here;
  seats_[rank].is.compare_exchange_strong(here, seat::dead, std::memory_order_acq_rel, std::memory_order_relaxed);
  wake();
}

bool area::is_deserted() const {
  return std::all_of(seats_, seats_ + ranks_,
                     [](const seat& s) { return s.is.load(std::memory_order_acquire) != seat::here; });
}

error area::trouble(std::uint32_t rank) const {
  const auto calls = seats_[rank].entered.load(std::memory_order_relaxed);
  const auto parity = (calls - 1) % 2;
  const auto& mine = seats_[rank].said[parity];
  std::vector<std::pair<std::uint32_t, std::string>> all;
  bool mismatch = false;
  if (part_.whole && (part_.whole->header_->arrived.load(std::memory_order_acquire) & broken_bit) != 0) {
    return part_.whole->reason();
  }
  for (std::uint32_t r = 0; r < ranks_; ++r) {
    const auto& other = seats_[r];
    // First: what a rank did before it left is visible then.
    const auto presence = presence_of(r);
    const auto entered = other.entered.load(std::memory_order_acquire);
    if (presence == seat::dead) {
      return death_of(r, mine.text(among()));
    }
    if (entered >= calls) {
      if (other.said[parity].hash != mine.hash) mismatch = true;
    } else if (presence == seat::left) {
      // The last call that it made at all, if it made none here.
      if (part_.whole && entered == 0) {
        if (auto why = part_.whole->absence_of(part_.ranks[r], mine.text(among())); why.code != errc::none) return why;
      }
      // The join is a call of the whole.
      return left_error(name(r), number_of(entered + (part_.whole ? 1 : 0)),
                        entered > 0 ? other.said[1 - parity].text(among()) : "", mine.text(among()));
    }
  }
  if (mismatch) {
    for (std::uint32_t r = 0; r < ranks_; ++r) {
      if (seats_[r].entered.load(std::memory_order_acquire) < calls) continue;
      all.emplace_back(name(r), seats_[r].said[parity].text(among()));
    }
    return mismatch_error(std::move(all));
  }
  return {errc::none, {}, {}, {}};
}

error area::death_of(std::uint32_t rank, const std::string& call) const {
  if (presence_of(rank) != seat::dead) return {errc::none, {}, {}, {}};
  return {
      errc::disconnected, rank_on_node(name(rank), node_of(rank)) + " is gone: its process ended, in " + call, {}, {}};
}

error area::absence_of(std::uint32_t rank, const std::string& call) const {
  if ((header_->arrived.load(std::memory_order_acquire) & broken_bit) != 0) return reason();
  if (presence_of(rank) != seat::left) return death_of(rank, call);
  const auto calls = calls_of(rank);
  return left_error(name(rank), number_of(calls), calls > 0 ? call_of(rank) : "", call);
}

wait_report area::report_of(std::uint32_t rank, duration waited) const {
  const auto calls = seats_[rank].entered.load(std::memory_order_relaxed);
  const auto parity = (calls - 1) % 2;
  const std::uint64_t first = part_.whole ? 1 : 2;  // call 0 of the whole is the join
  const auto barriers = seats_[rank].barriers.load(std::memory_order_relaxed);
  std::vector<rank_report> reports;
  for (std::uint32_t r = 0; r < ranks_; ++r) {
    const bool there = seats_[r].entered.load(std::memory_order_acquire) >= calls;
    // The call before this one.
    const bool behind = seats_[r].barriers.load(std::memory_order_relaxed) < barriers;
    reports.push_back({name(r), node_of(r), there, calls > first ? seats_[r].said[1 - parity].text(among()) : "",
                       there && behind, silence_of(r)});
  }
  return {seats_[rank].said[parity].text(among()), waited, std::move(reports)};
}

error area::overdue(std::uint32_t rank, duration waited) const {
  return overdue_error(name(rank), report_of(rank, waited), (part_.whole ? *part_.whole : *this).known_to_wait());
}

void area::mark::set(std::uint64_t group, std::uint32_t awaited, bool has_come) {
  auto& self = whole_.seats_[rank_];
  is_set_ = true;
  self.waits_in.store(group, std::memory_order_relaxed);
  self.waits_since.store(since_.time_since_epoch().count(), std::memory_order_relaxed);
  self.awaited.store((std::uint64_t{has_come} << 32 | awaited) + 1, std::memory_order_release);
}

void area::mark::clear() {
  if (std::exchange(is_set_, false)) whole_.seats_[rank_].awaited.store(0, std::memory_order_release);
}

std::optional<area::absent_rank> area::absent_for(std::uint32_t rank) const {
  const auto calls = seats_[rank].entered.load(std::memory_order_acquire);
  const auto barriers = seats_[rank].barriers.load(std::memory_order_relaxed);
  for (std::uint32_t r = 0; r < ranks_; ++r) {
    const bool has_come = seats_[r].entered.load(std::memory_order_acquire) >= calls;
    if (!has_come || seats_[r].barriers.load(std::memory_order_relaxed) < barriers) return absent_rank{r, has_come};
  }
  return {};
}

void area::set_mark(mark& waits, std::uint32_t rank) const {
  const auto absent = absent_for(rank);
  if (!absent) return waits.clear();
  waits.set(part_.group, part_.whole ? part_.ranks[absent->rank] : absent->rank, absent->has_come);
}

std::optional<area::marked> area::mark_of(std::uint32_t rank) const {
  const auto& self = seats_[rank];
  const auto word = self.awaited.load(std::memory_order_acquire);
  if (word == 0) return {};
  marked m{{static_cast<std::uint32_t>((word - 1) & 0xffffffff), (word - 1) >> 32 != 0},
           self.waits_in.load(std::memory_order_relaxed),
           time_point(duration(self.waits_since.load(std::memory_order_relaxed)))};
  if (m.awaited.rank >= ranks_) return {};
  // Who has come since wakes nobody: another one may be missing now, or nobody, and it was stopped in its sleep.
  if (m.group == 0) {
    const auto absent = absent_for(rank);
    if (!absent) return {};
    m.awaited = *absent;
    return m;
  }
  const auto at = standing_of(rank);
  // What happens inside a call of a part only its members see.
  if (m.awaited.has_come || !at || at.group() != m.group) return m;
  for (std::uint32_t r = 0; r < ranks_; ++r) {
    if (r == rank || !at.needs(r)) continue;
    const auto other = standing_of(r);
    const auto calls = other ? other.calls_of(m.group) : std::nullopt;
    if (!calls || *calls >= at.calls()) continue;
    m.awaited.rank = r;
    return m;
  }
  return {};
}

known_waits area::known_to_wait() const {
  known_waits all;
  for (std::uint32_t r = 0; r < ranks_; ++r) {
    const auto m = mark_of(r);
    if (!m) continue;
    const auto at = m->group == 0 ? standing() : standing_of(r);
    const auto [rank, has_come] = m->awaited;
    rank_report missing{name(rank), node_of(rank), has_come, {}, has_come, silence_of(rank)};
    if (calls_of(rank) > 0) missing.last_call = call_of(rank);
    all[name(r)] = {
        at ? at.text(*this) : call_of(r), now() - m->since, {{.rank = name(r), .arrived = true}, std::move(missing)}};
  }
  return all;
}

const std::string& area::node_of(std::uint32_t rank) const {
  static const std::string unknown;
  if (part_.whole) return part_.whole->node_of(part_.ranks[rank]);
  return members_.empty() ? unknown : members_[name(rank)].node;
}

/// Of a part: perhaps it does something else in the whole, and is not silent at all.
duration area::silence_of(std::uint32_t rank) const {
  const auto heard = seats_[rank].heard.load(std::memory_order_relaxed);
  auto silent = heard == 0 ? -1ns : std::max<duration>(0ns, coarse_now().time_since_epoch() - duration(heard));
  if (!part_.whole) return silent;
  const auto there = part_.whole->silence_of(part_.ranks[rank]);
  return silent < 0ns ? there : there < 0ns ? silent : std::min(silent, there);
}

void area::break_for_all(std::uint32_t rank, const error& why) {
  give_up(rank, count_mask, why);
}

error area::give_up(std::uint32_t rank, std::uint64_t target, const error& why) {
  auto& self = seats_[rank];
  auto seen = header_->arrived.load(std::memory_order_acquire);
  if ((seen & broken_bit) == 0) {
    // Before the bit. Only the reason of the rank that set it is ever read.
    auto text = encode(why);
    if (text.size() > sizeof self.reason) text = encode(error{why.code, why.what.substr(0, 900), {}, {}});
    std::memcpy(self.reason, text.data(), text.size());
    self.reason_size = static_cast<std::uint32_t>(text.size());
  }
  for (;;) {
    if ((seen & count_mask) >= target) return {errc::none, {}, {}, {}};
    if ((seen & broken_bit) != 0) return reason();
    if (header_->arrived.compare_exchange_weak(seen, seen | broken_bit | std::uint64_t{rank} << rank_shift,
                                               std::memory_order_acq_rel, std::memory_order_acquire))
      break;
  }
  // The others may be in any group of the gang.
  if (part_.whole) part_.whole->break_for_all(part_.ranks[rank], why);
  wake();
  return why;
}

error area::reason() const {
  const auto broken = header_->arrived.load(std::memory_order_acquire) & ~broken_bit;
  const auto who = static_cast<std::uint32_t>(std::min<std::uint64_t>(broken >> rank_shift, ranks_ - 1));
  const auto& said = seats_[who];
  auto why = decode<error>({said.reason, std::min<std::size_t>(said.reason_size, sizeof said.reason)}, "reason");
  if (why && why->code != errc::none) return std::move(*why);
  return {errc::internal, "rank " + std::to_string(name(who)) + " failed and gave no reason that can be read", {}, {}};
}

}  // namespace hydrogen::comm
