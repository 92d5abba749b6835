#include <hydrogen/comm/collective/shared.hpp>

#include <algorithm>
#include <cstring>
#include <new>

namespace hydrogen::comm {
namespace {

/// `bytes` of another rank's size, or why that is not possible.
error resize(byte_buffer& bytes, std::size_t size, std::uint32_t rank) {
  try {
    bytes.resize(size);
    return {errc::none, {}, {}, {}};
  } catch (const std::bad_alloc&) {
    return {errc::over_limit,
            "no memory for the " + std::to_string(size) + " bytes of rank " + std::to_string(rank),
            {},
            {}};
  }
}

}  // namespace

shared_engine::shared_engine(std::shared_ptr<area> where, std::uint32_t rank, abort_word& abort)
    : area_(std::move(where)), rank_(rank), abort_(abort), sources_(area_->size()), destinations_(area_->size()) {
  on_abort_ = abort_.on_abort([a = area_.get()] { a->wake(); });
}

shared_engine::~shared_engine() {
  on_abort_.reset();
  area_->leave(rank_);
}

expected<void> shared_engine::enter(const call_plan& plan, byte_view data, call_deadline& deadline) {
  if (!data.empty() && data.size() <= area_->slot_size()) {
    std::memcpy(area_->slot(rank_), data.data(), data.size());
  }
  return area_->enter(rank_, plan, data, deadline, abort_);
}

expected<void> shared_engine::barrier(const call_plan& plan, duration timeout) {
  call_deadline deadline(timeout);
  return area_->enter(rank_, plan, {}, deadline, abort_);
}

void shared_engine::copy_in(std::uint64_t turn, byte_view data, std::size_t offset) {
  if (offset >= data.size()) return;
  std::memcpy(area_->stage(rank_, turn), data.data() + offset, std::min(data.size() - offset, area_->stage_size()));
}

expected<void> shared_engine::all_reduce(const call_plan& plan, std::byte* data, duration timeout) {
  const auto bytes = plan.count * size_of(plan.kind);
  call_deadline deadline(timeout);
  if (is_staged(bytes)) return reduce_staged(plan, data, bytes, deadline);
  if (auto ok = enter(plan, {data, bytes}, deadline); !ok) return ok;
  if (bytes > area_->slot_size()) return reduce_in_place(plan);
  for (std::uint32_t r = 0; r < area_->size(); ++r) sources_[r] = area_->data_of(rank_, r).data();
  combine(plan.kind, plan.how, sources_, plan.count, {&data, 1});
  return {};
}

expected<void> shared_engine::reduce_in_place(const call_plan& plan) {
  const auto width = size_of(plan.kind);
  const auto ranks = area_->size();
  // Slices of whole pairs of cache lines, so that owners do not write to one line.
  const auto unit = 128 / width;
  const auto units = (plan.count + unit - 1) / unit;
  const auto first = std::min(plan.count, units * rank_ / ranks * unit);
  const auto last = std::min(plan.count, units * (rank_ + 1) / ranks * unit);
  for (std::uint32_t r = 0; r < ranks; ++r) {
    sources_[r] = area_->data_of(rank_, r).data() + first * width;
    // Every rank published its own writable buffer.
    destinations_[r] = const_cast<std::byte*>(sources_[r]);
  }
  combine(plan.kind, plan.how, sources_, last - first, destinations_);
  area_->finish(rank_);
  return {};
}

expected<void> shared_engine::reduce_staged(const call_plan& plan, std::byte* data, std::size_t bytes,
                                            call_deadline& deadline) {
  const auto ranks = area_->size();
  const auto piece = area_->stage_size();
  const auto width = size_of(plan.kind);
  const auto first_turn = turn_;
  const auto pieces = (bytes + piece - 1) / piece;
  turn_ += pieces;
  copy_in(first_turn, {data, bytes}, 0);
  if (auto ok = area_->enter(rank_, plan, {data, bytes}, deadline, abort_); !ok) return ok;
  for (std::size_t k = 0; k < pieces; ++k) {
    const auto size = std::min(piece, bytes - k * piece);
    const auto lines = (size + 127) / 128;
    const auto begin = std::min(size, lines * rank_ / ranks * 128);
    const auto end = std::min(size, lines * (rank_ + 1) / ranks * 128);
    if (begin < end) {
      for (std::uint32_t r = 0; r < ranks; ++r) sources_[r] = area_->stage(r, first_turn + k) + begin;
      auto* sum = area_->stage(0, first_turn + k) + begin;
      combine(plan.kind, plan.how, sources_, (end - begin) / width, {&sum, 1});
    }
    copy_in(first_turn + k + 1, {data, bytes}, (k + 1) * piece);
    if (auto ok = area_->step(rank_, deadline, abort_); !ok) return ok;
    std::memcpy(data + k * piece, area_->stage(0, first_turn + k), size);
  }
  return {};
}

expected<void> shared_engine::pass_staged(byte_view mine, std::span<byte_buffer* const> into, call_deadline& deadline) {
  const auto piece = area_->stage_size();
  std::size_t most = 0;
  for (std::uint32_t r = 0; r < area_->size(); ++r) {
    if (const auto size = area_->data_of(rank_, r).size(); is_staged(size)) most = std::max(most, size);
  }
  const auto pieces = (most + piece - 1) / piece;
  const auto first_turn = turn_;
  turn_ += pieces;
  if (!is_staged(mine.size())) mine = {};
  for (std::size_t k = 0; k < pieces; ++k) {
    copy_in(first_turn + k, mine, k * piece);
    if (auto ok = area_->step(rank_, deadline, abort_); !ok) return ok;
    for (std::uint32_t r = 0; r < area_->size(); ++r) {
      const auto size = area_->data_of(rank_, r).size();
      if (into[r] == nullptr || !is_staged(size) || k * piece >= size) continue;
      std::memcpy(into[r]->data() + k * piece, area_->stage(r, first_turn + k), std::min(piece, size - k * piece));
    }
  }
  return {};
}

expected<std::vector<byte_buffer>> shared_engine::all_gather(const call_plan& plan, byte_view mine, duration timeout) {
  call_deadline deadline(timeout);
  if (auto ok = enter(plan, mine, deadline); !ok) return unexpected(std::move(ok.error()));
  const auto ranks = area_->size();
  std::vector<byte_buffer> all(ranks);
  std::vector<byte_buffer*> into(ranks);
  bool in_place = false;
  error why{errc::none, {}, {}, {}};
  for (std::uint32_t r = 0; r < ranks; ++r) {
    const auto data = area_->data_of(rank_, r);
    if (why.code == errc::none) why = resize(all[r], data.size(), r);
    if (why.code != errc::none) continue;
    if (is_staged(data.size())) {
      into[r] = &all[r];
    } else if (!data.empty()) {
      std::memcpy(all[r].data(), data.data(), data.size());
    }
  }
  for (std::uint32_t r = 0; r < ranks; ++r) in_place |= area_->data_of(rank_, r).size() > area_->slot_size();
  if (area_->stage_size() != 0) {
    if (auto ok = pass_staged(mine, into, deadline); !ok) return unexpected(std::move(ok.error()));
  } else if (in_place) {
    area_->finish(rank_);
  }
  if (why.code != errc::none) return unexpected(std::move(why));
  return all;
}

expected<void> shared_engine::broadcast(const call_plan& plan, byte_buffer& bytes, duration timeout) {
  const bool is_root = rank_ == plan.root;
  const auto mine = is_root ? byte_view(bytes) : byte_view();
  call_deadline deadline(timeout);
  if (auto ok = enter(plan, mine, deadline); !ok) return ok;
  const auto data = area_->data_of(rank_, plan.root);
  error why{errc::none, {}, {}, {}};
  if (!is_root) why = resize(bytes, data.size(), plan.root);
  const bool wanted = !is_root && why.code == errc::none;
  if (is_staged(data.size())) {
    std::vector<byte_buffer*> into(area_->size());
    if (wanted) into[plan.root] = &bytes;
    if (auto ok = pass_staged(mine, into, deadline); !ok) return ok;
  } else {
    if (wanted && !data.empty()) std::memcpy(bytes.data(), data.data(), data.size());
    if (data.size() > area_->slot_size()) area_->finish(rank_);
  }
  if (why.code != errc::none) return unexpected(std::move(why));
  return {};
}

}  // namespace hydrogen::comm
