#pragma once
// The blocks that a process holds: an executor's outputs, the driver's data. Blocks are shared by pointer: a reader
// that got one keeps it alive, also after a drop. Any thread.

#include <hydrogen/data/block.hpp>

#include <functional>
#include <mutex>
#include <unordered_map>

namespace hydrogen::data {

class block_store {
 public:
  /// `budget` in bytes: the most that the blocks kept here may hold together.
  explicit block_store(std::uint64_t budget) : budget_(budget) {}

  /// Keeps the block under the id. The same id again replaces it (the same task attempt makes the same block). Above
  /// the budget: errc::over_limit, and nothing changes.
  expected<void> put(const block_id& id, block_ptr what);
  /// Null: not here.
  block_ptr get(const block_id& id) const;
  /// False: was not here.
  bool drop(const block_id& id);
  /// Drops all blocks whose id the function picks; returns how many.
  std::size_t drop_if(const std::function<bool(const block_id&)>& pick);

  std::uint64_t budget() const { return budget_; }
  std::uint64_t used() const;  // bytes
  std::size_t size() const;    // blocks

 private:
  const std::uint64_t budget_;
  mutable std::mutex mutex_;
  std::uint64_t used_ = 0;
  std::unordered_map<block_id, block_ptr> blocks_;
};

}  // namespace hydrogen::data
