#include <hydrogen/comm/collective/hierarchical.hpp>

#include <algorithm>

namespace hydrogen::comm {

namespace {
/// A group over links with more ranks of this island: one of them may wait for this rank in the island.
class seen_from_island final : public group_engine {
 public:
  /// `members`: gang ranks.
  seen_from_island(std::shared_ptr<shared_ties> ties, const island& here, std::unique_ptr<group_engine> links,
                   std::vector<std::uint32_t> members)
      : ties_(std::move(ties)), here_(here), links_(std::move(links)), members_(std::move(members)) {
    for (const auto m : members_) {
      if (here_.has(m)) fellows_.push_back(m - here_.first);
    }
  }

  std::uint32_t size() const override { return links_->size(); }
  const tuning& table() const override { return links_->table(); }
  const char* medium() const override { return links_->medium(); }
  expected<void> barrier(const call_plan& plan, duration timeout) override {
    stand(plan);
    return links_->barrier(plan, timeout);
  }
  expected<void> reduce(const call_plan& plan, const reducing& what, duration timeout) override {
    stand(plan);
    return links_->reduce(plan, what, timeout);
  }
  expected<void> pass(const call_plan& plan, std::span<const byte_view> out, std::span<const inbox> in,
                      duration timeout) override {
    stand(plan);
    return links_->pass(plan, out, in, timeout);
  }
  expected<std::unique_ptr<group_engine>> split(const call_plan& plan, std::span<const std::uint32_t> members,
                                                duration timeout) override {
    auto links = links_->split(plan, members, timeout);
    if (!links) return links;
    std::vector<std::uint32_t> ranks;
    for (const auto m : members) ranks.push_back(members_[m]);
    return std::make_unique<seen_from_island>(ties_, here_, std::move(*links), std::move(ranks));
  }

  /// Those of the island may wait for this rank there, in another group.
  void give_up(const error& why) override {
    links_->give_up(why);
    ties_->whole->break_for_all(ties_->rank, why);
  }

 private:
  void stand(const call_plan& plan) {
    if (fellows_.size() < 2) return;
    ties_->whole->stand(ties_->rank, ++ties_->calls[plan.group], plan, fellows_);
    ties_->whole->wake_sleepers();
  }

  std::shared_ptr<shared_ties> ties_;
  const island here_;
  std::unique_ptr<group_engine> links_;
  const std::vector<std::uint32_t> members_;
  std::vector<std::uint32_t> fellows_;  // as they are numbered in the island
};
}  // namespace

hierarchical_engine::hierarchical_engine(std::shared_ptr<mesh> links, const tuning& table, std::vector<island> islands,
                                         std::shared_ptr<shared_ties> mine, abort_word& abort)
    : mesh_(std::move(links)),
      islands_(std::move(islands)),
      ties_(std::move(mine)),
      island_(ties_ ? std::make_unique<shared_engine>(ties_, abort) : nullptr),
      rank_(mesh_->gang_rank()),
      here_(island_with(rank_)),
      all_(mesh_, table) {
  if (ties_)
    ties_->elsewhere = [links = mesh_.get()](auto& how) { return links->look_around(how.deadline, how.report); };
  if (!leads()) return;
  std::vector<std::uint32_t> ranks, weights;
  for (const auto& i : islands_) {
    ranks.push_back(i.first);
    weights.push_back(i.size);
  }
  leaders_ = std::make_unique<linked_engine>(mesh_, table, std::move(ranks), std::move(weights));
}

const island& hierarchical_engine::island_with(std::uint32_t rank) const {
  return *std::find_if(islands_.begin(), islands_.end(), [&](const auto& i) { return i.has(rank); });
}

void hierarchical_engine::give_up(const error& why) {
  mesh_->give_up(why);
  if (island_) island_->give_up(why);
}

expected<void> hierarchical_engine::meet(const call_plan& plan, call_deadline& until) {
  return island_ ? island_->barrier(plan, until.left()) : expected<void>();
}

expected<void> hierarchical_engine::barrier(const call_plan& plan, duration timeout) {
  const mesh::whole_call call(*mesh_, plan);
  call_deadline until(timeout);
  if (auto ok = meet(plan, until); !ok) return ok;
  if (leads()) {
    if (auto ok = leaders_->barrier(plan, until.left()); !ok) return ok;
  }
  return meet(plan, until);
}

expected<void> hierarchical_engine::reduce(const call_plan& plan, const reducing& what, duration timeout) {
  const mesh::whole_call call(*mesh_, plan);
  call_deadline until(timeout);
  const bool by_islands =
      what.whom == result_to::all && (plan.by == algorithm::picked || plan.by == algorithm::hierarchical);
  if (by_islands) return all_reduce(plan, what, until);
  if (auto ok = meet(plan, until); !ok) return ok;
  return all_.reduce(plan, what, until.left());
}

expected<void> hierarchical_engine::all_reduce(const call_plan& plan, const reducing& what, call_deadline& until) {
  auto work = what;
  if (is_narrow(what.kind)) {
    wide_.resize(what.count);
    widen(what.kind, what.data, what.count, wide_.data());
    work.kind = element::float32;
    work.data = reinterpret_cast<std::byte*>(wide_.data());
  }
  if (island_) {
    auto partial = work;
    if (work.how == reduction::mean) partial.how = reduction::sum;
    partial.whom = result_to::root;
    partial.root = 0;
    if (auto ok = island_->reduce(plan, partial, until.left()); !ok) return ok;
  }
  if (leads()) {
    if (auto ok = leaders_->reduce(plan, work, until.left()); !ok) return ok;
  }
  const mutable_byte_view result{work.data, work.bytes()};
  if (auto ok = tell(plan, here_.first, leads() ? result : byte_view(), {nullptr, result}, until); !ok) return ok;
  if (is_narrow(what.kind)) narrow(wide_.data(), what.count, what.kind, what.data);
  return {};
}

expected<void> hierarchical_engine::tell(const call_plan& plan, std::uint32_t from, byte_view mine, const inbox& in,
                                         call_deadline& until) {
  if (!island_) return {};
  std::vector<inbox> inboxes(here_.size);
  if (rank_ != from) inboxes[from - here_.first] = in;
  const byte_view out[1] = {mine};
  return island_->pass(plan, out, inboxes, until.left());
}

expected<void> hierarchical_engine::broadcast(const call_plan& plan, byte_view mine, std::span<const inbox> in,
                                              call_deadline& until) {
  // Leaders, whoever the root is: ranks that name different ones must find that out.
  const auto root = plan.root;
  const bool from_here = here_.has(root);
  const auto got = [&] { return in[root].growing != nullptr ? byte_view(*in[root].growing) : in[root].fixed; };
  if (auto ok = from_here ? tell(plan, root, mine, in[root], until) : meet(plan, until); !ok) return ok;
  if (leads()) {
    std::vector<inbox> from(islands_.size());
    const auto its = std::find_if(islands_.begin(), islands_.end(), [&](const auto& i) { return i.has(root); });
    if (!from_here) from[static_cast<std::size_t>(its - islands_.begin())] = in[root];
    const byte_view out[1] = {from_here && rank_ != root ? got() : mine};
    if (auto ok = leaders_->pass(plan, out, from, until.left()); !ok) return ok;
  }
  if (from_here) return meet(plan, until);
  return tell(plan, here_.first, leads() ? got() : byte_view(), in[root], until);
}

expected<void> hierarchical_engine::pass(const call_plan& plan, std::span<const byte_view> out,
                                         std::span<const inbox> in, duration timeout) {
  const mesh::whole_call call(*mesh_, plan);
  call_deadline until(timeout);
  if (plan.what == operation::broadcast) return broadcast(plan, out[0], in, until);
  if (auto ok = meet(plan, until); !ok) return ok;
  return all_.pass(plan, out, in, until.left());
}

expected<std::unique_ptr<group_engine>> hierarchical_engine::split(const call_plan& plan,
                                                                   std::span<const std::uint32_t> members,
                                                                   duration timeout) {
  auto links = all_.split(plan, members, timeout);
  if (!links || !ties_) return links;
  return std::make_unique<seen_from_island>(ties_, here_, std::move(*links),
                                            std::vector<std::uint32_t>(members.begin(), members.end()));
}

expected<std::shared_ptr<std::byte>> hierarchical_engine::buffer(const call_plan& plan, std::size_t bytes,
                                                                 duration timeout) {
  const mesh::whole_call call(*mesh_, plan);
  call_deadline until(timeout);
  auto mine = island_ ? island_->buffer(plan, bytes, until.left()) : private_memory(bytes);
  if (!mine && mine.error().code != errc::over_limit) return mine;
  return all_or_none(*this, plan, std::move(mine), until.left());
}

}  // namespace hydrogen::comm
