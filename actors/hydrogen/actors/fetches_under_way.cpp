#include <hydrogen/actors/fetches_under_way.hpp>

namespace hydrogen::actors {

bool fetches_under_way::claims::add(const data::block_id& id) {
  std::lock_guard lock(all_.mutex_);
  if (!all_.claimed_.insert({&into_, id}).second) return false;
  mine_.push_back(id);
  return true;
}

fetches_under_way::claims::~claims() {
  if (mine_.empty()) return;
  {
    std::lock_guard lock(all_.mutex_);
    for (const auto& id : mine_) all_.claimed_.erase({&into_, id});
  }
  all_.changed_.notify_all();
}

void fetches_under_way::wait(const data::block_store& into, const data::block_id& id, abort_word& abort) {
  const auto wake = abort.on_abort([this] {
    { std::lock_guard lock(mutex_); }  // not between the test and the sleep of who waits
    changed_.notify_all();
  });
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return abort.is_set() || !claimed_.contains({&into, id}); });
}

}  // namespace hydrogen::actors
