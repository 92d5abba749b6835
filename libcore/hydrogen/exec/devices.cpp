#include <hydrogen/base/resources.hpp>
#include <hydrogen/exec/devices.hpp>
#include <hydrogen/gpu/stream_state.hpp>

#include <spdlog/fmt/fmt.h>

#include <mutex>

namespace hydrogen::exec {
namespace {

/// For work that a task leaves behind: it ends by itself, or its device is of no more use. A task that was told to stop
/// has less time before its process is ended.
constexpr auto leaving_patience = std::chrono::seconds(5);
constexpr auto leaving_patience_aborted = std::chrono::seconds(1);

thread_local task_devices* here = nullptr;

}  // namespace

task_device::task_device(lent_device lent, const std::string& owner, const abort_word& abort)
    : lent_(std::move(lent)), abort_(abort), stream_(value_or_throw(lent_.on->make_stream(owner, lent_.share))) {}

duration task_device::patience() const {
  return abort_.is_set() ? leaving_patience_aborted : leaving_patience;
}

gpu::stream task_device::make_stream(std::string label) {
  auto made = value_or_throw(stream_.another(std::move(label)));
  // Of a stream that is gone and done, only this knows.
  std::erase_if(others_, [](const gpu::event& e) { return e.of().use_count() == 1 && e.of()->drained(now()); });
  others_.push_back(made.here());
  return made;
}

task_device::~task_device() {
  for (; !at_end_.empty(); at_end_.pop_back()) {
    try {
      at_end_.back()();
    } catch (const std::exception& e) {
      lent_.on->lose({errc::internal, std::string("the end of a task: ") + e.what(), {}, {}});
    }
  }
  const auto deadline = now() + patience();
  auto left = stream_.drained(deadline);
  for (const auto& other : others_) {
    if (left) left = other.of()->drained(deadline);
  }
  if (!left && left.error().code == errc::timed_out) {
    auto why = left.error();
    why.what += ", and the task that enqueued it is over";
    lent_.on->lose(std::move(why));
  }
}

void task_device::finish(duration timeout) {
  value_or_throw(stream_.finish(now() + timeout, &abort_));
}

void task_device::wait(const gpu::event& e, duration timeout) {
  value_or_throw(e.wait(now() + timeout, &abort_));
}

task_device& task_devices::at(std::size_t which) {
  constexpr std::size_t most = 64;
  if (which >= most) throw failure({errc::not_found, fmt::format("no device {}", which), owner_(), {}});
  if (which >= open_.size()) open_.resize(which + 1);
  auto& place = open_[which];
  if (place) return *place;
  if (from_.lend) {
    place = std::make_unique<task_device>(value_or_throw(from_.lend(which)), owner_(), abort_);
  } else if (which == 0) {
    place = std::make_unique<task_device>(lent_device{device_of_this_process(), 0}, owner_(), abort_);
  } else {
    throw failure({errc::not_found, fmt::format("no device {}: none was asked for", which), owner_(),
                   "say how many devices each slot needs: barrier_options::needs, needs() of a dataset"});
  }
  return *place;
}

std::string task_devices::visible() const {
  std::string ids;
  if (!from_.granted) return ids;
  for (const auto& d : value_or_throw(from_.granted())) {
    if (d.backend == gpu::backend_kind::cuda) ids += (ids.empty() ? "" : ",") + d.id;
  }
  return ids;
}

std::shared_ptr<gpu::device> device_of_this_process() {
  static std::mutex mutex;
  static std::weak_ptr<gpu::device> known;
  const std::lock_guard lock(mutex);
  auto there = known.lock();
  if (!there || !there->health()) {
    auto what = gpu::virtual_devices(1, std::max<std::uint64_t>(physical_memory(), std::uint64_t{1} << 30))[0];
    what.id = "host";
    what.name = "this process";
    gpu::device_options options;
    options.pinned_limit = what.memory;
    there = value_or_throw(gpu::device::open(what, options));
    known = there;
  }
  return there;
}

current_devices::current_devices(task_devices& of_the_task) : before_(here) {
  here = &of_the_task;
}

current_devices::~current_devices() {
  here = before_;
}

namespace {

task_devices& of_this_task(const char* call) {
  if (here != nullptr) return *here;
  throw failure({errc::refused,
                 std::string("hydrogen::") + call + "() outside of a task",
                 {},
                 "call it in a function of a dataset"});
}

}  // namespace

task_device& device(std::size_t which) {
  return of_this_task("device").at(which);
}

std::string visible_devices() {
  return of_this_task("visible_devices").visible();
}

}  // namespace hydrogen::exec
