#include <hydrogen/comm/collective/linked.hpp>
#include <hydrogen/comm/collective/owner_reduce.hpp>

namespace hydrogen::comm {

namespace {
// Up to this many bytes, over all ranks, one round trip less is worth sending everything to everyone.
constexpr std::size_t one_shot_bytes = 512 << 10;
}  // namespace

expected<void> linked_engine::barrier(const call_plan& plan, duration timeout) {
  gather nothing({}, std::vector<gather::seat>(mesh_->size()));
  return mesh_->run(plan, nothing, timeout);
}

expected<void> linked_engine::all_reduce(const call_plan& plan, std::byte* data, duration timeout) {
  const auto ranks = mesh_->size();
  const auto bytes = plan.count * size_of(plan.kind);
  if (bytes * ranks > one_shot_bytes && plan.count >= ranks) {
    owner_reduce reduce(plan.kind, plan.how, data, plan.count);
    return mesh_->run(plan, reduce, timeout);
  }
  const auto row = (bytes + 63) / 64 * 64;
  auto* scratch = mesh_->scratch(row * ranks);
  std::vector<gather::seat> seats(ranks);
  std::vector<const std::byte*> sources(ranks);
  for (std::uint32_t r = 0; r < ranks; ++r) {
    seats[r].fixed = {scratch + row * r, bytes};
    sources[r] = r == mesh_->rank() ? data : scratch + row * r;
  }
  gather everything({data, bytes}, std::move(seats));
  if (auto ok = mesh_->run(plan, everything, timeout); !ok) return ok;
  combine(plan.kind, plan.how, sources, plan.count, {&data, 1});
  return {};
}

expected<std::vector<byte_buffer>> linked_engine::all_gather(const call_plan& plan, byte_view mine, duration timeout) {
  std::vector<byte_buffer> all(mesh_->size());
  std::vector<gather::seat> seats(mesh_->size());
  for (std::uint32_t r = 0; r < mesh_->size(); ++r) seats[r].growing = &all[r];
  all[mesh_->rank()].assign(mine.begin(), mine.end());
  gather everything(mine, std::move(seats));
  if (auto ok = mesh_->run(plan, everything, timeout); !ok) return unexpected(std::move(ok.error()));
  return all;
}

expected<void> linked_engine::broadcast(const call_plan& plan, byte_buffer& bytes, duration timeout) {
  const bool is_root = mesh_->rank() == plan.root;
  std::vector<gather::seat> seats(mesh_->size());
  if (!is_root) seats[plan.root].growing = &bytes;
  gather from_root(is_root ? byte_view(bytes) : byte_view(), std::move(seats));
  return mesh_->run(plan, from_root, timeout);
}

}  // namespace hydrogen::comm
