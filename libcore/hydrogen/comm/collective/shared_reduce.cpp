#include <hydrogen/base/streamed_copy.hpp>
#include <hydrogen/comm/collective/shared_parts.hpp>

#include <algorithm>
#include <cstring>

namespace hydrogen::comm {
namespace {

// Of each rank at a time, when memory of others is read: the pieces of a small gang stay in the second-level cache.
constexpr std::size_t read_piece = 64 << 10;

/// The bytes that a member adds up. Whole pairs of cache lines, so that owners do not write to one line; but shares,
/// where each keeps its own.
byte_range slice_of(const reducing& what, std::uint32_t member, std::uint32_t ranks) {
  const auto width = size_of(what.kind);
  if (what.whom == result_to::owners) {
    const auto s = share_of(what.count, member, ranks);
    return {s.begin * width, (s.begin + s.count) * width};
  }
  const auto unit = 128 / width;
  const auto units = (what.count + unit - 1) / unit;
  return {std::min(what.count, units * member / ranks * unit) * width,
          std::min(what.count, units * (member + 1) / ranks * unit) * width};
}

}  // namespace

expected<void> shared_engine::reduce(const call_plan& plan, const reducing& what, duration timeout) {
  const auto bytes = what.bytes();
  const auto ranks = area_->size();
  auto how = waiting(timeout);
  if (bytes <= area_->slot_size()) {
    if (bytes != 0) std::memcpy(area_->slot(self_), what.data, bytes);
    if (auto ok = enter(plan, {{what.data, bytes}}, how); !ok) return ok;
    if (what.whom == result_to::root && self_ != what.root) return {};
    const auto mine = what.whom == result_to::owners ? slice_of(what, self_, ranks) : byte_range{0, bytes};
    for (std::uint32_t m = 0; m < ranks; ++m) sources_[m] = of(m).here + mine.begin;
    auto* at = what.data + mine.begin;
    combine(what.kind, what.how, sources_, (mine.end - mine.begin) / size_of(what.kind), {&at, 1});
    return {};
  }
  auto mine = offer_of({what.data, bytes});
  const bool reads = may_read(bytes >= table().reduce_by_reading);
  if (reads && what.whom == result_to::root && self_ != what.root) {
    const auto slice = slice_of(what, self_, ranks);
    aside_.resize(slice.end - slice.begin);
    mine.aside = aside_.data();
  }
  const bool copied_in = area_->is_on_host() && !reads && mine.is == offer::place::own_memory;
  if (copied_in) copy_in_for_others(turn_, {what.data, bytes}, 0);
  if (auto ok = enter(plan, mine, how); !ok) return ok;
  if (!is_apart()) return reduce_in_place(what, how);
  if (reads) {
    if (auto ok = find_way(how); !ok) return ok;
    if (way_ == way::read) return reduce_by_reading(what, how);
  }
  return reduce_staged(what, copied_in, how);
}

expected<void> shared_engine::reduce_in_place(const reducing& what, area_wait& how) {
  const auto ranks = area_->size();
  const auto slice = slice_of(what, self_, ranks);
  destinations_.clear();
  for (std::uint32_t m = 0; m < ranks; ++m) {
    sources_[m] = of(m).here + slice.begin;
    // Every rank offered its own writable buffer.
    if (what.whom == result_to::all || m == (what.whom == result_to::root ? what.root : self_)) {
      destinations_.push_back(const_cast<std::byte*>(sources_[m]));
    }
  }
  combine(what.kind, what.how, sources_, (slice.end - slice.begin) / size_of(what.kind), destinations_);
  return part_company(how);
}

expected<void> shared_engine::reduce_by_reading(const reducing& what, area_wait& how) {
  const auto ranks = area_->size();
  const auto slice = slice_of(what, self_, ranks);
  scratch_.resize(read_piece * ranks);
  for (auto done = slice.begin; done < slice.end; done += read_piece) {
    const auto size = std::min(read_piece, slice.end - done);
    for (std::uint32_t m = 0; m < ranks; ++m) {
      const auto theirs = of(m);
      sources_[m] = m == self_ ? what.data + done : theirs.here != nullptr ? theirs.here + done : nullptr;
      if (sources_[m] != nullptr) continue;
      auto* here = scratch_.data() + read_piece * m;
      if (auto ok = area_->read(m, theirs.there + done, {here, size}); !ok) return ok;
      sources_[m] = here;
    }
    auto* at =
        what.whom == result_to::root && self_ != what.root ? aside_.data() + (done - slice.begin) : what.data + done;
    combine(what.kind, what.how, sources_, size / size_of(what.kind), {&at, 1});
  }
  if (what.whom != result_to::owners) {
    if (auto ok = area_->step(self_, how); !ok) return ok;
    const bool wanted = what.whom == result_to::all || self_ == what.root;
    for (std::uint32_t i = 1; i < ranks && wanted; ++i) {
      const auto owner = (self_ + i) % ranks;
      const auto theirs = of(owner);
      const auto part = slice_of(what, owner, ranks);
      const mutable_byte_view into{what.data + part.begin, part.end - part.begin};
      if (what.whom == result_to::all && theirs.here != nullptr) {
        std::memcpy(into.data(), theirs.here + part.begin, into.size());
        continue;
      }
      const auto from = what.whom == result_to::root ? theirs.aside : theirs.there + part.begin;
      if (auto ok = area_->read(owner, from, into); !ok) return ok;
    }
  }
  return area_->step(self_, how);
}

/// What a member adds up of a staged piece. Whole pairs of cache lines, as above.
byte_range shared_engine::slice_of_piece(std::size_t size, std::uint32_t member) const {
  const auto lines = (size + 127) / 128;
  return {std::min(size, lines * member / area_->size() * 128),
          std::min(size, lines * (member + 1) / area_->size() * 128)};
}

/// All of a piece but what this rank adds up itself, from where it is.
void shared_engine::copy_in_for_others(std::uint64_t turn, byte_view data, std::size_t offset) {
  if (offset >= data.size()) return;
  const auto piece = data.subspan(offset, std::min(data.size() - offset, area_->stage_size()));
  const auto own = slice_of_piece(piece.size(), self_);
  auto* to = area_->stage(self_, turn);
  streamed_copy(to, piece.data(), own.begin);
  streamed_copy(to + own.end, piece.data() + own.end, piece.size() - own.end);
  end_streamed_copies();
}

expected<void> shared_engine::reduce_staged(const reducing& what, bool copied_in, area_wait& how) {
  const auto ranks = area_->size();
  const auto bytes = what.bytes();
  const auto piece = area_->stage_size();
  const auto width = size_of(what.kind);
  const auto first_turn = turn_;
  const auto pieces = (bytes + piece - 1) / piece;
  turn_ += pieces;
  // Who offered a gang buffer, or did not know the way yet, has nothing in its stage.
  bool all_there = copied_in;
  for (std::uint32_t m = 0; m < ranks; ++m) all_there &= of(m).is == offer::place::own_memory;
  if (!all_there) {
    if (!copied_in) copy_in_for_others(first_turn, {what.data, bytes}, 0);
    if (auto ok = area_->step(self_, how); !ok) return ok;
  }
  const bool is_root = what.whom == result_to::root && self_ == what.root;
  // What this rank keeps of the sums. Its own ones are in their place at once, where it keeps all of a slice.
  const auto kept = what.whom == result_to::owners           ? slice_of(what, self_, ranks)
                    : what.whom == result_to::all || is_root ? byte_range{0, bytes}
                                                             : byte_range{};
  for (std::size_t k = 0; k < pieces; ++k) {
    const auto offset = k * piece;
    const auto size = std::min(piece, bytes - offset);
    const auto mine = slice_of_piece(size, self_);
    const bool stores = kept.begin <= offset + mine.begin && offset + mine.end <= kept.end;
    if (mine.begin < mine.end) {
      for (std::uint32_t m = 0; m < ranks; ++m) {
        sources_[m] = m == self_ ? what.data + offset + mine.begin : area_->stage(m, first_turn + k) + mine.begin;
      }
      destinations_.clear();
      if (stores) destinations_.push_back(what.data + offset + mine.begin);
      // For the others in its own stage, where nothing of this rank's slice was.
      const bool others_keep = what.whom == result_to::all || !stores;
      auto* told = others_keep ? area_->stage(self_, first_turn + k) + mine.begin : nullptr;
      combine(what.kind, what.how, sources_, (mine.end - mine.begin) / width, destinations_, {}, told);
    }
    copy_in_for_others(first_turn + k + 1, {what.data, bytes}, offset + piece);
    if (auto ok = area_->step(self_, how); !ok) return ok;
    for (std::uint32_t m = 0; m < ranks && kept.end > offset; ++m) {
      if (stores && m == self_) continue;
      const auto theirs = slice_of_piece(size, m);
      const auto from = std::max(kept.begin, offset + theirs.begin);
      const auto to = std::min(kept.end, offset + theirs.end);
      if (from < to) std::memcpy(what.data + from, area_->stage(m, first_turn + k) + (from - offset), to - from);
    }
  }
  return {};
}

}  // namespace hydrogen::comm
