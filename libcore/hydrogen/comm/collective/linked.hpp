#pragma once
// Collectives of a gang with ranks in more than one process, over its mesh of links; sub-groups use the same links.

#include <hydrogen/comm/group_engine.hpp>
#include <hydrogen/comm/mesh.hpp>

#include <memory>
#include <vector>

namespace hydrogen::comm {

class linked_engine final : public group_engine {
 public:
  /// `members`: gang ranks, ascending; none: all of them. `weights`: of reductions, as of `combine`.
  linked_engine(std::shared_ptr<mesh> links, const tuning&, std::vector<std::uint32_t> members = {},
                std::vector<std::uint32_t> weights = {});

  std::uint32_t size() const override { return size_; }
  const tuning& table() const override { return table_; }
  const char* medium() const override { return medium_; }
  /// In static memory.
  void tell_medium(const char* medium) { medium_ = medium; }
  /// The first call: every rank has joined, and has the table of rank 0, when it returns.
  expected<void> join(const call_plan&, duration timeout);
  expected<void> barrier(const call_plan&, duration timeout) override;
  expected<void> reduce(const call_plan&, const reducing&, duration timeout) override;
  expected<void> pass(const call_plan&, std::span<const byte_view> out, std::span<const inbox> in,
                      duration timeout) override;
  expected<std::unique_ptr<group_engine>> split(const call_plan&, std::span<const std::uint32_t> members,
                                                duration timeout) override;
  void give_up(const error& why) override { mesh_->give_up(why); }

 private:
  expected<void> reduce_at_once(const call_plan&, const reducing&, duration timeout);

  std::shared_ptr<mesh> mesh_;
  tuning table_;
  std::vector<std::uint32_t> members_;  // empty: all
  std::vector<std::uint32_t> weights_;
  std::uint32_t size_ = 0;
  std::uint32_t self_ = 0;
  const char* medium_ = "TCP";
};

}  // namespace hydrogen::comm
