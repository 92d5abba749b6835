// What speaks against going on in a gang area, and how it breaks.

#include <hydrogen/comm/area_layout.hpp>

#include <algorithm>
#include <cstring>

namespace hydrogen::comm {

error area::trouble(std::uint32_t rank) const {
  const auto calls = seats_[rank].entered.load(std::memory_order_relaxed);
  const auto parity = (calls - 1) % 2;
  const auto& mine = seats_[rank].said[parity];
  std::vector<std::pair<std::uint32_t, std::string>> all;
  bool mismatch = false;
  for (std::uint32_t r = 0; r < ranks_; ++r) {
    const auto& other = seats_[r];
    // First: what a rank did before it left is visible then.
    const auto presence = other.is.load(std::memory_order_acquire);
    const auto entered = other.entered.load(std::memory_order_acquire);
    if (presence == seat::dead) {
      return {
          errc::disconnected, "rank " + std::to_string(r) + " is gone: its process ended, in " + mine.text(), {}, {}};
    }
    if (entered >= calls) {
      if (other.said[parity].hash != mine.hash) mismatch = true;
    } else if (presence == seat::left) {
      return left_error(r, entered, entered > 0 ? other.said[1 - parity].text() : "", mine.text());
    }
  }
  if (!mismatch) return {errc::none, {}, {}, {}};
  for (std::uint32_t r = 0; r < ranks_; ++r) {
    if (seats_[r].entered.load(std::memory_order_acquire) >= calls) all.emplace_back(r, seats_[r].said[parity].text());
  }
  return mismatch_error(std::move(all));
}

error area::late(std::uint32_t rank, duration timeout) const {
  const auto calls = seats_[rank].entered.load(std::memory_order_relaxed);
  const auto parity = (calls - 1) % 2;
  std::vector<rank_report> reports;
  for (std::uint32_t r = 0; r < ranks_; ++r) {
    const bool there = seats_[r].entered.load(std::memory_order_acquire) >= calls;
    // The call before this one; call 0 is the join.
    reports.push_back({r, there, calls > 2 ? seats_[r].said[1 - parity].text() : ""});
  }
  return missing_error(seats_[rank].said[parity].text(), timeout, reports);
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
  wake();
  return why;
}

error area::reason() const {
  const auto who = (header_->arrived.load(std::memory_order_acquire) & ~broken_bit) >> rank_shift;
  const auto& said = seats_[std::min<std::uint64_t>(who, ranks_ - 1)];
  auto why = decode<error>({said.reason, std::min<std::size_t>(said.reason_size, sizeof said.reason)}, "reason");
  if (why && why->code != errc::none) return std::move(*why);
  return {errc::internal, "rank " + std::to_string(who) + " failed and gave no reason that can be read", {}, {}};
}

}  // namespace hydrogen::comm
