#include <hydrogen/comm/collective/shared_parts.hpp>

#include <algorithm>
#include <cstring>

namespace hydrogen::comm {

shared_engine::shared_engine(std::shared_ptr<shared_ties> ties, abort_word& abort)
    : ties_(std::move(ties)), area_(ties_->whole), self_(ties_->rank), abort_(abort) {
  sources_.resize(area_->size());
  destinations_.reserve(area_->size());
  on_abort_ = abort_.on_abort([a = area_.get()] { a->wake(); });
}

shared_engine::shared_engine(std::shared_ptr<shared_ties> ties, std::shared_ptr<area> where, const part_of& part,
                             abort_word& abort)
    : ties_(std::move(ties)),
      area_(std::move(where)),
      ranks_(part.ranks),
      group_(part.group),
      self_(static_cast<std::uint32_t>(std::find(ranks_.begin(), ranks_.end(), ties_->rank) - ranks_.begin())),
      abort_(abort) {
  sources_.resize(area_->size());
  destinations_.reserve(area_->size());
  area_->introduce(self_);
  on_abort_ = abort_.on_abort([a = area_.get()] { a->wake(); });
}

shared_engine::~shared_engine() {
  on_abort_.reset();
  area_->leave(self_);
}

area_wait shared_engine::waiting(duration timeout) {
  area_wait how(timeout, abort_);
  how.also = [this](area_wait&) { return crossing(); };
  if (!ties_->elsewhere) return how;
  how.again = long_wait;
  how.also = [this, since = never](area_wait& wait) mutable -> error {
    if (auto why = crossing(); why.code != errc::none) return why;
    since = std::min(since, now());
    return now() < since + long_wait ? error{errc::none, {}, {}, {}} : ties_->elsewhere(wait);
  };
  return how;
}

expected<void> shared_engine::enter(const call_plan& plan, const offer& what, area_wait& how) {
  plan_ = plan;
  if (group_ != 0) {
    // The first call is that of finding each other.
    const auto calls = area_->calls_of(self_) + 2;
    ties_->calls[group_] = calls;
    ties_->whole->stand(ties_->rank, calls, plan, ranks_);
  }
  return area_->enter(self_, plan, what, how);
}

error shared_engine::crossing() const {
  const auto& whole = *ties_->whole;
  // The usual gang has no groups.
  if (!whole.has_parts()) return {errc::none, {}, {}, {}};
  return whole.ring_of({ties_->rank, [this] { return plan_.text(ranks_); },
                        [this](std::uint32_t rank) {
                          const auto at = std::lower_bound(ranks_.begin(), ranks_.end(), rank);
                          if (!ranks_.empty() && (at == ranks_.end() || *at != rank)) return false;
                          const auto member = ranks_.empty() ? rank : static_cast<std::uint32_t>(at - ranks_.begin());
                          return !area_->has_arrived(self_, member);
                        },
                        &ties_->calls});
}

offer shared_engine::offer_of(byte_view data) const {
  offer o{data, offer::place::own_memory, false, nullptr};
  const bool is_shared = std::any_of(ties_->buffers.begin(), ties_->buffers.end(), [&](byte_view b) {
    return data.data() >= b.data() && data.data() + data.size() <= b.data() + b.size();
  });
  if (is_shared) o.is = offer::place::gang_buffer;
  return o;
}

bool shared_engine::is_apart() const {
  for (std::uint32_t m = 0; m < area_->size(); ++m) {
    const auto o = of(m);
    // Entries for each rank lie in private memory, whatever they refer to.
    if (o.size > area_->slot_size() && (o.here == nullptr || (o.parted && area_->is_on_host()))) return true;
  }
  return false;
}

bool shared_engine::may_read(bool pays) const {
  return pays && area_->is_on_host() && way_ != way::stages && area_->size() == 2;
}

expected<void> shared_engine::find_way(area_wait& how) {
  if (way_ != way::unknown) return {};
  bool reads_all = ties_->reads_memory;
  for (std::uint32_t m = 0; m < area_->size() && reads_all; ++m) reads_all = area_->can_read(m);
  area_->say_reach(self_, reads_all);
  if (auto ok = area_->step(self_, how); !ok) return ok;
  way_ = area_->all_reach() ? way::read : way::stages;
  return {};
}

expected<void> shared_engine::part_company(area_wait& how) {
  if (area_->is_on_host()) return area_->step(self_, how);
  area_->finish(self_);
  return {};
}

expected<void> shared_engine::barrier(const call_plan& plan, duration timeout) {
  auto how = waiting(timeout);
  return enter(plan, {}, how);
}

expected<std::unique_ptr<group_engine>> shared_engine::split(const call_plan& plan,
                                                             std::span<const std::uint32_t> members, duration timeout) {
  part_of part;
  part.whole = ties_->whole;
  part.group = plan.group;
  for (const auto m : members) part.ranks.push_back(ranks_.empty() ? m : ranks_[m]);
  area_wait how(timeout, abort_);
  // It waits for the first one alone, which has to begin the group.
  how.also = [this, &part, &plan](area_wait&) -> error {
    if (part.ranks[0] == ties_->rank) return {errc::none, {}, {}, {}};
    return ties_->whole->ring_of({ties_->rank, [&] { return plan.text(part.ranks); },
                                  [&](std::uint32_t rank) { return rank == part.ranks[0]; }, &ties_->calls});
  };
  ties_->calls[plan.group] = 1;
  ties_->whole->stand(ties_->rank, 1, plan, part.ranks, true);
  auto made = ties_->make_part(part, how);
  if (!made) return unexpected(std::move(made.error()));
  return std::make_unique<shared_engine>(ties_, std::move(*made), part, abort_);
}

expected<std::shared_ptr<std::byte>> shared_engine::buffer(const call_plan& plan, std::size_t bytes, duration timeout) {
  if (!area_->is_on_host()) return group_engine::buffer(plan, bytes, timeout);
  constexpr std::size_t page = 4096;
  // Two rounds: how much each wants, and where the process of rank 0 has found all of it.
  struct place {
    std::uint64_t offset = 0;
    std::uint64_t failed = 0;
  };
  const std::uint64_t wanted = (bytes + page - 1) / page * page;
  std::vector<std::uint64_t> all(area_->size());
  std::vector<inbox> in(area_->size());
  for (std::size_t m = 0; m < in.size(); ++m) in[m].fixed = std::as_writable_bytes(std::span(&all[m], 1));
  byte_view mine[1] = {std::as_bytes(std::span(&wanted, 1))};
  if (auto ok = pass(plan, mine, in, timeout); !ok) return unexpected(std::move(ok.error()));
  all[self_] = wanted;
  place found;
  if (self_ == 0) {
    std::uint64_t sum = 0;
    for (const auto n : all) sum += n;
    const auto taken = area_->take_buffer()(sum);
    found = {taken ? *taken : 0, taken ? 0u : 1u};
  }
  std::vector<inbox> from_first(area_->size());
  from_first[0].fixed = std::as_writable_bytes(std::span(&found, 1));
  const place said = found;
  byte_view told[1] = {self_ == 0 ? std::as_bytes(std::span(&said, 1)) : byte_view()};
  if (auto ok = pass(plan, told, from_first, timeout); !ok) return unexpected(std::move(ok.error()));
  if (found.failed != 0) {
    return fail(errc::over_limit, "the shared memory of this host has no room for this buffer", plan.text(ranks_),
                "use smaller buffers, or ordinary memory");
  }
  auto offset = found.offset;
  for (std::uint32_t m = 0; m < self_; ++m) offset += all[m];
  auto* at = area_->buffers() + offset;
  ties_->buffers.push_back({at, bytes});
  return std::shared_ptr<std::byte>(area_, at);
}

}  // namespace hydrogen::comm
