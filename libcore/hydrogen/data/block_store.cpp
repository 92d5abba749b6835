#include <hydrogen/data/block_store.hpp>

namespace hydrogen::data {

expected<void> block_store::put(const block_id& id, block_ptr what) {
  block_ptr replaced;  // freed after the lock
  std::lock_guard lock(mutex_);
  auto found = blocks_.find(id);
  const auto before = found != blocks_.end() ? found->second->bytes.size() : 0;
  const auto after = used_ - before + what->bytes.size();
  if (after > budget_) {
    return fail(errc::over_limit,
                "the block store is full: " + std::to_string(what->bytes.size()) + " bytes asked for, " +
                    std::to_string(used_ - before) + " of " + std::to_string(budget_) + " bytes in use",
                {}, "raise the executor's block budget, or use more partitions or fewer rows");
  }
  used_ = after;
  if (found == blocks_.end()) {
    blocks_.emplace(id, std::move(what));
  } else {
    replaced = std::exchange(found->second, std::move(what));
  }
  return {};
}

block_ptr block_store::get(const block_id& id) const {
  std::lock_guard lock(mutex_);
  const auto found = blocks_.find(id);
  return found != blocks_.end() ? found->second : nullptr;
}

bool block_store::drop(const block_id& id) {
  block_ptr dropped;
  std::lock_guard lock(mutex_);
  const auto found = blocks_.find(id);
  if (found == blocks_.end()) return false;
  used_ -= found->second->bytes.size();
  dropped = std::move(found->second);
  blocks_.erase(found);
  return true;
}

std::size_t block_store::drop_if(const std::function<bool(const block_id&)>& pick) {
  std::vector<block_ptr> dropped;
  std::lock_guard lock(mutex_);
  for (auto at = blocks_.begin(); at != blocks_.end();) {
    if (!pick(at->first)) {
      ++at;
      continue;
    }
    used_ -= at->second->bytes.size();
    dropped.push_back(std::move(at->second));
    at = blocks_.erase(at);
  }
  return dropped.size();
}

std::uint64_t block_store::used() const {
  std::lock_guard lock(mutex_);
  return used_;
}

std::size_t block_store::size() const {
  std::lock_guard lock(mutex_);
  return blocks_.size();
}

}  // namespace hydrogen::data
