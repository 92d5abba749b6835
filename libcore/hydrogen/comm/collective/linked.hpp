#pragma once
// Collectives of a gang with ranks in more than one process, over its mesh of links.

#include <hydrogen/comm/collective/gather.hpp>
#include <hydrogen/comm/group_engine.hpp>

#include <memory>

namespace hydrogen::comm {

class linked_engine final : public group_engine {
 public:
  explicit linked_engine(std::unique_ptr<mesh> links) : mesh_(std::move(links)) {}

  /// The first call: every rank has joined when it returns.
  expected<void> join(const call_plan& plan, duration timeout) { return barrier(plan, timeout); }
  expected<void> barrier(const call_plan&, duration timeout) override;
  expected<void> all_reduce(const call_plan&, std::byte* data, duration timeout) override;
  expected<std::vector<byte_buffer>> all_gather(const call_plan&, byte_view mine, duration timeout) override;
  expected<void> broadcast(const call_plan&, byte_buffer& bytes, duration timeout) override;

 private:
  std::unique_ptr<mesh> mesh_;
};

}  // namespace hydrogen::comm
