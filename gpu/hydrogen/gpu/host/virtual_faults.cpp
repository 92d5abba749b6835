#include <hydrogen/gpu/buffer.hpp>
#include <hydrogen/gpu/host/host_device.hpp>

#include <algorithm>

namespace hydrogen::gpu {

void virtual_faults::plan(std::string kernel, virtual_fault what, std::uint64_t after) {
  const std::lock_guard lock(mutex_);
  plans_.push_back({std::move(kernel), what, after});
}

void virtual_faults::release() {
  const std::lock_guard lock(mutex_);
  release_ = true;
  released_.notify_all();
}

bool virtual_faults::any() {
  const std::lock_guard lock(mutex_);
  return !plans_.empty();
}

expected<void> virtual_faults::before(const char* kernel, bool& lost) {
  std::unique_lock lock(mutex_);
  for (auto p = plans_.begin(); p != plans_.end(); ++p) {
    if (p->kernel != kernel) continue;
    if (p->after-- != 0) continue;
    const auto what = p->what;
    plans_.erase(p);
    if (what == virtual_fault::hang) {
      released_.wait(lock, [&] { return release_; });
      return {};
    }
    lost = what == virtual_fault::lose;
    return fail(errc::task_failed, lost ? "the device was taken away" : "a fault that was planned");
  }
  return {};
}

virtual_faults& faults_of(device& d) {
  if (d.info().backend != backend_kind::host) refuse("faults_of", d.description() + " is no virtual device");
  return static_cast<host::host_device&>(backend_of(d)).faults();
}

}  // namespace hydrogen::gpu
