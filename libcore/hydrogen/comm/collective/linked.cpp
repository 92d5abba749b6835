#include <hydrogen/comm/collective/linked.hpp>
#include <hydrogen/comm/collective/messages.hpp>
#include <hydrogen/comm/collective/owner_reduce.hpp>
#include <hydrogen/comm/collective/rotating_ring.hpp>

#include <algorithm>

namespace hydrogen::comm {

namespace {
constexpr byte_view nothing[1] = {};
}  // namespace

linked_engine::linked_engine(std::shared_ptr<mesh> links, const tuning& table, std::vector<std::uint32_t> members,
                             std::vector<std::uint32_t> weights)
    : mesh_(std::move(links)), table_(table), members_(std::move(members)), weights_(std::move(weights)) {
  size_ = members_.empty() ? mesh_->gang_size() : static_cast<std::uint32_t>(members_.size());
  self_ = mesh_->gang_rank();
  if (!members_.empty()) {
    self_ = static_cast<std::uint32_t>(std::find(members_.begin(), members_.end(), self_) - members_.begin());
  }
}

expected<void> linked_engine::join(const call_plan& plan, duration timeout) {
  // That of rank 0 holds for all.
  std::vector<inbox> in(size_);
  const auto mine = table_;
  if (self_ != 0) in[0].fixed = std::as_writable_bytes(std::span(&table_, 1));
  const byte_view out[1] = {self_ == 0 ? std::as_bytes(std::span(&mine, 1)) : byte_view()};
  return pass(plan, out, in, timeout);
}

expected<void> linked_engine::barrier(const call_plan& plan, duration timeout) {
  return pass(plan, nothing, std::vector<inbox>(size_), timeout);
}

expected<void> linked_engine::pass(const call_plan& plan, std::span<const byte_view> out, std::span<const inbox> in,
                                   duration timeout) {
  std::vector<byte_view> to_root;
  if (plan.what == operation::gather && out.size() == 1) {
    to_root.resize(size_);
    for (std::uint32_t m = 0; m < size_; ++m) {
      if ((members_.empty() ? m : members_[m]) == plan.root) to_root[m] = out[0];
    }
    out = to_root;
  }
  messages all(out, in);
  return mesh_->run(plan, all, timeout, members_);
}

expected<void> linked_engine::reduce(const call_plan& plan, const reducing& what, duration timeout) {
  if (plan.by == algorithm::rotating_ring && what.whom == result_to::all) {
    rotating_ring ring(what.kind, what.how, what.data, what.count);
    return mesh_->run(plan, ring, timeout, members_);
  }
  const bool few = what.count < size_;
  const bool small = what.bytes() * size_ <= table_.one_shot_of(size_);
  if (few || plan.by == algorithm::one_shot || (small && plan.by != algorithm::owner_reduce)) {
    return reduce_at_once(plan, what, timeout);
  }
  owner_reduce owners(what, weights_);
  return mesh_->run(plan, owners, timeout, members_);
}

expected<void> linked_engine::reduce_at_once(const call_plan& plan, const reducing& what, duration timeout) {
  const auto width = size_of(what.kind);
  // What goes to a member: what it gets the result of.
  const auto part_of = [&](std::uint32_t member) -> share {
    if (what.whom == result_to::owners) return share_of(what.count, member, size_);
    return {0, what.whom == result_to::all || member == what.root ? what.count : 0};
  };
  const auto mine = part_of(self_);
  const auto row = (mine.count * width + 63) / 64 * 64;
  auto* scratch = mesh_->scratch(row * size_);
  std::vector<byte_view> out(size_);
  std::vector<inbox> in(size_);
  std::vector<const std::byte*> sources(size_);
  for (std::uint32_t r = 0; r < size_; ++r) {
    const auto theirs = part_of(r);
    out[r] = {what.data + theirs.begin * width, theirs.count * width};
    in[r].fixed = {scratch + row * r, mine.count * width};
    sources[r] = r == self_ ? what.data + mine.begin * width : scratch + row * r;
  }
  if (auto ok = pass(plan, out, in, timeout); !ok) return ok;
  std::byte* at = what.data + mine.begin * width;
  combine(what.kind, what.how, sources, mine.count, {&at, 1}, weights_);
  return {};
}

expected<std::unique_ptr<group_engine>> linked_engine::split(const call_plan&, std::span<const std::uint32_t> members,
                                                             duration) {
  std::vector<std::uint32_t> ranks;
  for (const auto m : members) ranks.push_back(members_.empty() ? m : members_[m]);
  return std::make_unique<linked_engine>(mesh_, table_, std::move(ranks));
}

}  // namespace hydrogen::comm
