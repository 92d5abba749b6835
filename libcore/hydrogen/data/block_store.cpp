#include <hydrogen/data/block_store.hpp>

#include <algorithm>
#include <utility>

namespace hydrogen::data {

expected<void> block_store::put(const block_id& id, block_ptr what) {
  std::vector<block_ptr> freed;  // after the lock
  std::lock_guard lock(mutex_);
  return keep(id, std::move(what), freed);
}

expected<void> block_store::keep(const block_id& id, block_ptr what, std::vector<block_ptr>& freed) {
  auto found = blocks_.find(id);
  const auto old = found != blocks_.end() ? found->second : nullptr;  // used by this, so that it is no unused copy
  const auto before = old ? old->bytes.size() : 0;
  auto after = used_ - before + what->bytes.size();
  if (after > budget_ && !copies_.empty()) {
    make_room(after - budget_, freed);
    after = used_ - before + what->bytes.size();
  }
  if (after > budget_) {
    return fail(errc::over_limit,
                "the block store is full: " + std::to_string(what->bytes.size()) + " bytes asked for, " +
                    std::to_string(used_ - before) + " of " + std::to_string(budget_) + " bytes in use",
                {}, "raise the executor's block budget, or use more partitions or fewer rows");
  }
  used_ = after;
  if (content_ == content::copies && id.is_content()) copies_[id] = ++uses_;
  if (found == blocks_.end()) {
    blocks_.emplace(id, std::move(what));
  } else {
    freed.push_back(std::exchange(found->second, std::move(what)));
  }
  return {};
}

expected<std::shared_ptr<const void>> block_store::hold(const block_id& id, block_ptr what) {
  std::vector<block_ptr> freed;
  std::lock_guard lock(mutex_);
  auto& held = held_[id];
  if (auto handle = held.lock()) return handle;
  const void* address = what.get();
  if (auto ok = keep(id, std::move(what), freed); !ok) {
    held_.erase(id);
    return unexpected(std::move(ok.error()));
  }
  std::shared_ptr<const void> handle(address, [store = weak_from_this(), id](const void*) {
    if (const auto s = store.lock()) s->let_go(id);
  });
  held = handle;
  return handle;
}

void block_store::let_go(const block_id& id) {
  block_ptr dropped;
  std::lock_guard lock(mutex_);
  const auto at = held_.find(id);
  if (at == held_.end() || !at->second.expired()) return;  // held again meanwhile
  held_.erase(at);
  dropped = take(id);
}

block_ptr block_store::take(const block_id& id) {
  const auto found = blocks_.find(id);
  if (found == blocks_.end()) return nullptr;
  used_ -= found->second->bytes.size();
  auto taken = std::move(found->second);
  blocks_.erase(found);
  copies_.erase(id);
  return taken;
}

block_ptr block_store::get(const block_id& id) const {
  std::lock_guard lock(mutex_);
  const auto found = blocks_.find(id);
  if (found == blocks_.end()) return nullptr;
  if (content_ == content::copies && id.is_content()) copies_[id] = ++uses_;
  return found->second;
}

void block_store::make_room(std::uint64_t bytes, std::vector<block_ptr>& freed) {
  std::vector<std::pair<std::uint64_t, block_id>> unused;
  for (const auto& [id, last_use] : copies_) {
    if (blocks_.at(id).use_count() == 1) unused.emplace_back(last_use, id);
  }
  std::sort(unused.begin(), unused.end());
  const auto enough = used_ - std::min(used_, bytes);
  for (const auto& [last_use, id] : unused) {
    if (used_ <= enough) return;
    freed.push_back(take(id));
  }
}

bool block_store::drop(const block_id& id) {
  block_ptr dropped;
  std::lock_guard lock(mutex_);
  dropped = take(id);
  return dropped != nullptr;
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
    copies_.erase(at->first);
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
