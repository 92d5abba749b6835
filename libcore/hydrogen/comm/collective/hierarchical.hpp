#pragma once
// Collectives of a gang that spans hosts and has islands: ranks that share memory (islands.hpp). They do in memory what
// they can, and one of each island, its leader, uses the links.
//
//     barrier      the island meets | leaders, over links | the island meets
//     all-reduce   to the leader, in memory | leaders, over links | from the leader, in memory
//     broadcast    from the root, in memory | leaders, over links | from the other leaders, in memory; the first meets
//
// All other calls use the links between all ranks. Every call begins with a meeting of the island, so a rank that calls
// something else is seen, whichever way its call would take. Who waits for long in a call looks at all links as well.
// Groups of some ranks use links, and say on the board of an island which call they are in. half and bfloat16 are
// reduced as float, which gives the bits of rounding once.

#include <hydrogen/comm/collective/linked.hpp>
#include <hydrogen/comm/collective/shared.hpp>
#include <hydrogen/comm/islands.hpp>

#include <memory>
#include <vector>

namespace hydrogen::comm {

class hierarchical_engine final : public group_engine {
 public:
  /// `islands`: all ranks of the gang, in their order. `mine`: of the island of this rank, to which it has come; null
  /// where that is the rank alone. `abort` must outlive it.
  hierarchical_engine(std::shared_ptr<mesh> links, const tuning&, std::vector<island> islands,
                      std::shared_ptr<shared_ties> mine, abort_word& abort);

  std::uint32_t size() const override { return mesh_->gang_size(); }
  const tuning& table() const override { return all_.table(); }
  const char* medium() const override { return "host memory+TCP"; }
  expected<void> barrier(const call_plan&, duration timeout) override;
  expected<void> reduce(const call_plan&, const reducing&, duration timeout) override;
  expected<void> pass(const call_plan&, std::span<const byte_view> out, std::span<const inbox> in,
                      duration timeout) override;
  expected<std::unique_ptr<group_engine>> split(const call_plan&, std::span<const std::uint32_t> members,
                                                duration timeout) override;
  expected<std::shared_ptr<std::byte>> buffer(const call_plan&, std::size_t bytes, duration timeout) override;
  void give_up(const error&) override;

 private:
  bool leads() const { return rank_ == here_.first; }
  const island& island_with(std::uint32_t rank) const;
  expected<void> meet(const call_plan&, call_deadline&);
  expected<void> all_reduce(const call_plan&, const reducing&, call_deadline&);
  expected<void> broadcast(const call_plan&, byte_view mine, std::span<const inbox> in, call_deadline&);
  /// From one rank of the island to the others.
  expected<void> tell(const call_plan&, std::uint32_t from, byte_view mine, const inbox& in, call_deadline&);

  std::shared_ptr<mesh> mesh_;
  std::vector<island> islands_;
  std::shared_ptr<shared_ties> ties_;
  std::unique_ptr<shared_engine> island_;
  std::uint32_t rank_;
  island here_;
  linked_engine all_;
  std::unique_ptr<linked_engine> leaders_;  // of a leader
  std::vector<float> wide_;
};

}  // namespace hydrogen::comm
