#include <hydrogen/exec/shared_sums.hpp>
#include <hydrogen/gpu/kernels/elementwise.hpp>
#include <hydrogen/gpu/kernels/reductions.hpp>

#include <map>
#include <utility>

namespace hydrogen::exec {
namespace {

/// Of this process, by key.
struct known_sums {
  std::mutex mutex;
  std::uint64_t last_key = 0;
  std::map<std::uint64_t, std::weak_ptr<shared_sums>> all;
};

known_sums& known() {
  static known_sums of_process;
  return of_process;
}

}  // namespace

expected<std::shared_ptr<shared_sums>> shared_sums::open(gpu::device& on, const std::string& label,
                                                         std::uint32_t members, std::uint64_t& key) {
  auto stream = on.make_stream(label);
  if (!stream) return unexpected(std::move(stream.error()));
  std::shared_ptr<shared_sums> made(new shared_sums(std::move(*stream), members));
  auto& k = known();
  const std::lock_guard lock(k.mutex);
  std::erase_if(k.all, [](const auto& entry) { return entry.second.expired(); });
  key = ++k.last_key;
  k.all[key] = made;
  return made;
}

expected<std::shared_ptr<shared_sums>> shared_sums::find(std::uint64_t key) {
  auto& k = known();
  const std::lock_guard lock(k.mutex);
  const auto at = k.all.find(key);
  auto found = at == k.all.end() ? nullptr : at->second.lock();
  if (!found) return fail(errc::disconnected, "the first of the ranks that share a device has gone");
  return found;
}

void shared_sums::decide(plan p) {
  const std::lock_guard lock(mutex_);
  plan_ = std::move(p);
}

void shared_sums::join(std::uint32_t member, std::vector<part> buckets) {
  const std::lock_guard lock(mutex_);
  arrivals_.resize(buckets.size());
  buckets_[member] = std::move(buckets);
}

std::vector<std::vector<shared_sums::part>> shared_sums::of_others() {
  const std::lock_guard lock(mutex_);
  return {buckets_.begin() + 1, buckets_.end()};
}

template <class T>
void shared_sums::add_up(std::size_t bucket, gpu::buffer<T> part::*which) {
  std::vector<gpu::buffer<T>> all;
  for (const auto& member : buckets_) all.push_back(member[bucket].*which);
  const auto to = plan_.staged.empty() ? all : std::vector{all.front()};
  gpu::kernels::reduce_ranks(stream_, plan_.how, all, to);
}

void shared_sums::come(std::size_t bucket) {
  const std::lock_guard lock(mutex_);
  auto& here = arrivals_[bucket];
  if (++here.come < plan_.members || closed_) return;
  here.come = 0;
  if (buckets_.front()[bucket].narrow.empty()) {
    add_up(bucket, &part::numbers);
  } else {
    add_up(bucket, &part::narrow);
  }
  if (plan_.staged.empty()) return;
  gpu::kernels::copy(stream_, buckets_.front()[bucket].numbers, plan_.staged[bucket]);
  here.event = stream_.here();
  here.staged = true;
  changed_.notify_all();
}

expected<gpu::event> shared_sums::staged(std::size_t bucket, time_point deadline, const abort_word& abort) {
  constexpr auto look_at_abort = std::chrono::milliseconds(20);
  std::unique_lock lock(mutex_);
  auto& here = arrivals_[bucket];
  while (!here.staged) {
    if (abort.is_set()) return unexpected(abort.reason());
    if (now() >= deadline) {
      return fail(errc::timed_out, "a rank that shares the device has not come with its gradients");
    }
    changed_.wait_for(lock, look_at_abort);
  }
  here.staged = false;
  return std::exchange(here.event, {});
}

expected<void> shared_sums::close(time_point deadline) {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  return stream_.drained(deadline);
}

}  // namespace hydrogen::exec
