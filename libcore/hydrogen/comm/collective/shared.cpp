#include <hydrogen/comm/collective/shared.hpp>

#include <cstring>
#include <new>

namespace hydrogen::comm {

shared_engine::shared_engine(std::shared_ptr<inproc::area> area, std::uint32_t rank, abort_word& abort)
    : area_(std::move(area)), rank_(rank), abort_(abort), sources_(area_->size()), destinations_(area_->size()) {
  on_abort_ = abort_.on_abort([a = area_.get()] { a->wake(); });
}

shared_engine::~shared_engine() {
  on_abort_.reset();
  area_->leave(rank_);
}

expected<void> shared_engine::enter(const call_plan& plan, byte_view data, duration timeout) {
  if (data.size() <= area_->slot_size()) {
    auto* slot = area_->slot(rank_);
    if (!data.empty()) std::memcpy(slot, data.data(), data.size());
    data = {slot, data.size()};
  }
  return area_->enter(rank_, plan, data, timeout, abort_);
}

expected<void> shared_engine::join(const call_plan& plan, duration timeout) {
  return area_->enter(rank_, plan, {}, timeout, abort_);
}

expected<void> shared_engine::barrier(const call_plan& plan, duration timeout) {
  return area_->enter(rank_, plan, {}, timeout, abort_);
}

expected<void> shared_engine::all_reduce(const call_plan& plan, std::byte* data, duration timeout) {
  const auto width = size_of(plan.kind);
  const auto bytes = plan.count * width;
  const auto ranks = area_->size();
  if (auto ok = enter(plan, {data, bytes}, timeout); !ok) return ok;
  if (bytes <= area_->slot_size()) {
    for (std::uint32_t r = 0; r < ranks; ++r) sources_[r] = area_->data_of(rank_, r).data();
    combine(plan.kind, plan.how, sources_, plan.count, {&data, 1});
    return {};
  }
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

expected<std::vector<byte_buffer>> shared_engine::all_gather(const call_plan& plan, byte_view mine, duration timeout) {
  if (auto ok = enter(plan, mine, timeout); !ok) return unexpected(std::move(ok.error()));
  const auto ranks = area_->size();
  std::vector<byte_buffer> all(ranks);
  bool in_place = false;
  error why{errc::none, {}, {}, {}};
  for (std::uint32_t r = 0; r < ranks; ++r) {
    const auto data = area_->data_of(rank_, r);
    in_place |= data.size() > area_->slot_size();
    try {
      if (why.code == errc::none) all[r].assign(data.begin(), data.end());
    } catch (const std::bad_alloc&) {
      why = {errc::over_limit,
             "no memory for the " + std::to_string(data.size()) + " bytes of rank " + std::to_string(r),
             {},
             {}};
    }
  }
  if (in_place) area_->finish(rank_);
  if (why.code != errc::none) return unexpected(std::move(why));
  return all;
}

expected<void> shared_engine::broadcast(const call_plan& plan, byte_buffer& bytes, duration timeout) {
  const bool is_root = rank_ == plan.root;
  if (auto ok = enter(plan, is_root ? byte_view(bytes) : byte_view(), timeout); !ok) return ok;
  const auto data = area_->data_of(rank_, plan.root);
  error why{errc::none, {}, {}, {}};
  try {
    if (!is_root) bytes.assign(data.begin(), data.end());
  } catch (const std::bad_alloc&) {
    why = {errc::over_limit, "no memory for the " + std::to_string(data.size()) + " bytes of the broadcast", {}, {}};
  }
  if (data.size() > area_->slot_size()) area_->finish(rank_);
  if (why.code != errc::none) return unexpected(std::move(why));
  return {};
}

}  // namespace hydrogen::comm
