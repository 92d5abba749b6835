#pragma once
// The blocks that a process holds: an executor's outputs, the driver's data. Blocks are shared by pointer: a reader
// that got one keeps it alive, also after a drop. Any thread.

#include <hydrogen/data/block.hpp>

#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace hydrogen::data {

class block_store : public std::enable_shared_from_this<block_store> {
 public:
  /// Blocks that are named by content (arguments, libraries) are either owned here, or copies that can be fetched
  /// again.
  enum class content : std::uint8_t { owned, copies };

  /// `budget` in bytes: the most that the blocks kept here may hold together. When it does not suffice, copies go that
  /// nobody uses, the one first whose last use is longest ago.
  explicit block_store(std::uint64_t budget, content named = content::owned) : budget_(budget), content_(named) {}

  /// Keeps the block under the id. The same id again replaces it (the same task attempt makes the same block). Above
  /// the budget: errc::over_limit, and nothing changes.
  expected<void> put(const block_id& id, block_ptr what);
  /// Keeps it until the last handle of this id is gone: for blocks that have several users, who made the same one. The
  /// store must be owned by a shared_ptr; a handle may outlive it.
  expected<std::shared_ptr<const void>> hold(const block_id& id, block_ptr what);
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
  void let_go(const block_id& id);
  // Under the lock; what they free goes to the caller, who frees it after the lock.
  expected<void> keep(const block_id& id, block_ptr what, std::vector<block_ptr>& freed);
  block_ptr take(const block_id& id);
  /// Frees at least so many bytes, as far as unused copies go.
  void make_room(std::uint64_t bytes, std::vector<block_ptr>& freed);

  const std::uint64_t budget_;
  const content content_;
  mutable std::mutex mutex_;
  std::uint64_t used_ = 0;
  std::unordered_map<block_id, block_ptr> blocks_;
  mutable std::unordered_map<block_id, std::uint64_t> copies_;  // and when each was last used, in uses of copies
  mutable std::uint64_t uses_ = 0;
  std::unordered_map<block_id, std::weak_ptr<const void>> held_;
};

}  // namespace hydrogen::data
