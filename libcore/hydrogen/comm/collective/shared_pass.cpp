#include <hydrogen/base/streamed_copy.hpp>
#include <hydrogen/comm/collective/shared_parts.hpp>

#include <algorithm>
#include <cstring>
#include <new>

namespace hydrogen::comm {
namespace {

// Below, a piece costs less than the barrier that comes with it.
constexpr std::size_t least_piece = 16 << 10;

/// Memory for `size` bytes of a rank; null, and why, when that is not possible. Fixed places have the size of the plan.
std::byte* place_for(const inbox& to, std::size_t size, std::uint32_t rank, error& trouble) {
  if (to.growing == nullptr) {
    invariant(to.fixed.size() == size, "a rank passes another size than that of the plan");
    return to.fixed.data();
  }
  try {
    to.growing->resize(size);
    return to.growing->data();
  } catch (const std::bad_alloc&) {
    trouble = {errc::over_limit,
               "no memory for the " + std::to_string(size) + " bytes of rank " + std::to_string(rank),
               {},
               {}};
    return nullptr;
  }
}

bool is_wanted(const inbox& to) {
  return to.growing != nullptr || !to.fixed.empty();
}

}  // namespace

expected<void> shared_engine::pass(const call_plan& plan, std::span<const byte_view> out, std::span<const inbox> in,
                                   duration timeout) {
  auto how = waiting(timeout);
  offer mine;
  if (out.size() == 1) {
    mine = offer_of(out[0]);
    if (!out[0].empty() && out[0].size() <= area_->slot_size()) {
      std::memcpy(area_->slot(self_), out[0].data(), out[0].size());
    }
  } else {
    parts_.clear();
    auto total = out.size() * sizeof(part_entry);
    for (const auto& o : out) {
      parts_.push_back({o.size(), total, 0});
      total += o.size();
    }
    mine.parted = true;
    if (total <= area_->slot_size()) {
      auto* at = area_->slot(self_);
      std::memcpy(at, parts_.data(), parts_.size() * sizeof(part_entry));
      for (std::size_t i = 0; i < out.size(); ++i) {
        if (!out[i].empty()) std::memcpy(at + parts_[i].at, out[i].data(), out[i].size());
      }
      mine.data = {at, total};
    } else {
      for (std::size_t i = 0; i < out.size(); ++i) {
        const auto o = offer_of(out[i]);
        parts_[i].is_buffer = o.is == offer::place::gang_buffer ? 1 : 0;
        parts_[i].at = parts_[i].is_buffer != 0 ? static_cast<std::uint64_t>(o.data.data() - area_->buffers())
                                                : reinterpret_cast<std::uint64_t>(o.data.data());
      }
      // The size is that of what the entries refer to: it tells everyone that this is not in a slot.
      mine.data = {reinterpret_cast<const std::byte*>(parts_.data()), total};
    }
  }
  if (auto ok = enter(plan, mine, how); !ok) return ok;
  error trouble{errc::none, {}, {}, {}};
  std::size_t most = 0;
  std::uint32_t with_much = 0;
  for (std::uint32_t m = 0; m < area_->size(); ++m) {
    most = std::max(most, of(m).size);
    if (of(m).size > area_->slot_size()) ++with_much;
  }
  bool staged = is_apart();
  const bool pays = with_much > 1 ? most <= table().exchange_by_reading : most >= table().pass_by_reading;
  if (staged && may_read(pays)) {
    if (auto ok = find_way(how); !ok) return ok;
    staged = way_ != way::read;
  }
  if (staged) {
    if (auto ok = pass_staged(out, in, trouble, how); !ok) return ok;
  }
  for (std::uint32_t m = 0; m < area_->size(); ++m) {
    if (m == self_ || !is_wanted(in[m]) || (staged && of(m).size > area_->slot_size())) continue;
    if (auto ok = take(m, in[m], trouble); !ok) return ok;
  }
  const bool is_large = most > area_->slot_size() && !staged;
  if (is_large) {
    if (auto ok = part_company(how); !ok) return ok;
  }
  // Only now: the others have had what they need of this rank.
  if (trouble.code != errc::none) return unexpected(std::move(trouble));
  return {};
}

/// Reads what another member has for this one, where it is.
expected<void> shared_engine::take(std::uint32_t from, const inbox& to, error& trouble) {
  const auto theirs = of(from);
  const bool in_slot = theirs.size <= area_->slot_size();
  const std::byte* here = theirs.here;
  auto there = theirs.there;
  auto size = theirs.size;
  if (theirs.parted) {
    part_entry e;
    const auto at = sizeof(part_entry) * self_;
    if (here != nullptr) {
      std::memcpy(&e, here + at, sizeof e);
    } else if (auto ok = area_->read(from, there + at, std::as_writable_bytes(std::span(&e, 1))); !ok) {
      return ok;
    }
    size = e.size;
    if (in_slot) {
      here += e.at;
    } else if (e.is_buffer != 0) {
      here = area_->buffers() + e.at;
    } else {
      here = area_->is_on_host() ? nullptr : reinterpret_cast<const std::byte*>(e.at);
      there = e.at;
    }
  }
  auto* into = place_for(to, size, from, trouble);
  if (into == nullptr || size == 0) return {};
  if (here == nullptr) return area_->read(from, there, {into, size});
  std::memcpy(into, here, size);
  return {};
}

void shared_engine::copy_in(std::uint64_t turn, byte_view data, std::size_t offset, std::size_t piece) {
  if (offset >= data.size()) return;
  streamed_copy(area_->stage(self_, turn), data.data() + offset, std::min(data.size() - offset, piece));
  end_streamed_copies();
}

/// What is too large for slots, piece by piece; of parted data the entries come first.
expected<void> shared_engine::pass_staged(std::span<const byte_view> out, std::span<const inbox> in, error& trouble,
                                          area_wait& how) {
  const auto is_staged = [&](std::uint32_t m) { return of(m).size > area_->slot_size(); };
  byte_buffer together;
  byte_view mine;
  if (is_staged(self_) && out.size() == 1) {
    mine = out[0];
  } else if (is_staged(self_)) {
    auto at = out.size() * sizeof(part_entry);
    for (std::size_t i = 0; i < out.size(); ++i) {
      parts_[i] = {out[i].size(), at, 0};
      at += out[i].size();
    }
    const auto entries = std::as_bytes(std::span(parts_));
    together.assign(entries.begin(), entries.end());
    for (const auto& o : out) together.insert(together.end(), o.begin(), o.end());
    mine = together;
  }
  struct wanted {
    std::size_t begin = 0;
    std::size_t size = 0;
    std::byte* into = nullptr;
    bool known = false;
  };
  std::vector<wanted> from(area_->size());
  std::size_t most = 0;
  std::uint32_t givers = 0;
  for (std::uint32_t m = 0; m < area_->size(); ++m) {
    if (!is_staged(m)) continue;
    most = std::max(most, of(m).size);
    ++givers;
  }
  // From one rank to the other: that copies out while this one copies in, if there is more than one piece. Of more
  // ranks some may share a CPU, and switch at each barrier.
  auto piece = area_->stage_size();
  if (givers == 1 && area_->size() == 2 && most < 4 * piece) {
    piece = std::max(least_piece, (most / 8 + 4095) / 4096 * 4096);
  }
  const auto pieces = (most + piece - 1) / piece;
  const auto first_turn = turn_;
  turn_ += pieces;
  for (std::size_t k = 0; k < pieces; ++k) {
    copy_in(first_turn + k, mine, k * piece, piece);
    if (auto ok = area_->step(self_, how); !ok) return ok;
    const auto begin = k * piece;
    for (std::uint32_t m = 0; m < area_->size(); ++m) {
      if (m == self_ || !is_staged(m) || !is_wanted(in[m])) continue;
      const auto theirs = of(m);
      const auto* stage = area_->stage(m, first_turn + k);
      auto& w = from[m];
      if (const auto at = sizeof(part_entry) * self_; !w.known && (!theirs.parted || at < begin + piece)) {
        part_entry e{theirs.size, 0, 0};
        if (theirs.parted) std::memcpy(&e, stage + (at - begin), sizeof e);
        w = {e.at, e.size, place_for(in[m], e.size, m, trouble), true};
      }
      const auto first = std::max(begin, w.begin);
      const auto last = std::min(begin + piece, w.begin + w.size);
      if (w.known && w.into != nullptr && first < last) {
        std::memcpy(w.into + (first - w.begin), stage + (first - begin), last - first);
      }
    }
  }
  return {};
}

}  // namespace hydrogen::comm
