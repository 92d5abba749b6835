#include <hydrogen/base/cpus.hpp>
#include <hydrogen/gpu/backend.hpp>
#include <hydrogen/gpu/stream.hpp>
#include <hydrogen/gpu/trimmer.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <thread>

namespace hydrogen::gpu {

const char* to_string(backend_kind kind) {
  return kind == backend_kind::host ? "host" : "CUDA";
}

expected<std::vector<device_info>> find_devices() {
  return find_cuda_devices();
}

std::vector<device_info> virtual_devices(std::uint32_t count, std::uint64_t memory_each, std::uint32_t threads) {
  if (threads == 0) threads = std::max(1U, usable_cpus() / std::max(1U, count));
  std::vector<device_info> all;
  for (std::uint32_t i = 0; i < count; ++i) {
    all.push_back({backend_kind::host, fmt::format("virtual-{}", i), "host", i, memory_each, 0, threads});
  }
  return all;
}

namespace {
thread_local bool must_not_wait = false;
}

void this_thread_must_not_wait() {
  must_not_wait = true;
}

backend_device& backend_of(device& d) {
  return *d.backend_;
}

device::device(device_info info, device_options options)
    : info_(std::move(info)),
      device_memory_(std::make_unique<memory_pool>(
          *this, memory_kind::device, options.memory_limit == 0 ? info_.memory : options.memory_limit, options.keep)),
      pinned_memory_(std::make_unique<memory_pool>(*this, memory_kind::pinned, options.pinned_limit, options.keep)),
      trimmer_(std::make_unique<trimmer>([this] {
        const bool waits = device_memory_->trim_excess();
        return pinned_memory_->trim_excess() || waits;
      })) {}

device::~device() {
  // The backend ends with its work, which still uses memory of the pools.
  if (backend_) backend_->drain();
  trimmer_.reset();
  device_memory_.reset();
  pinned_memory_.reset();
}

expected<std::shared_ptr<device>> device::open(const device_info& info, device_options options) {
  if (info.memory == 0 || options.memory_limit > info.memory) {
    return fail(errc::bad_input,
                fmt::format("{} has {} bytes of memory, {} are asked for", info.id, info.memory, options.memory_limit));
  }
  // What ends may have been kept by a callback, whose thread the device waits for.
  std::shared_ptr<device> made(new device(info, options), [](device* d) {
    if (!must_not_wait) return delete d;
    std::thread([d] { delete d; }).detach();
  });
  if (info.backend == backend_kind::host) {
    made->backend_ = open_host_device(*made);
  } else {
    auto backend = open_cuda_device(*made);
    if (!backend) return unexpected(std::move(backend.error()));
    made->backend_ = std::move(*backend);
  }
  return made;
}

std::string device::description() const {
  return fmt::format("{} ({})", info_.id, info_.name);
}

expected<stream> device::make_stream(std::string label, std::uint64_t share) {
  return make_stream(std::move(label), share == 0 ? nullptr : std::make_shared<memory_share>(share));
}

expected<stream> device::make_stream(std::string label, std::shared_ptr<memory_share> share) {
  auto state = std::make_shared<stream_state>(*this, std::move(label));
  state->share = std::move(share);
  auto queue = backend_->make_stream(*state);
  if (!queue) return unexpected(std::move(queue.error()));
  state->queue = std::move(*queue);
  {
    const std::lock_guard lock(order_);
    std::erase_if(streams_, [](const auto& weak) { return weak.expired(); });
    streams_.push_back(state);
  }
  if (auto well = health(); !well) state->fail(1, std::move(well.error()));
  return stream(shared_from_this(), std::move(state));
}

expected<memory_ptr> device::pin(std::shared_ptr<std::byte> memory, std::size_t bytes) {
  if (auto pinned = backend_->pin(memory.get(), bytes); !pinned) return unexpected(std::move(pinned.error()));
  return std::make_shared<gpu::memory>(shared_from_this(), *pinned_memory_, std::move(memory), bytes);
}

expected<void> device::health() const {
  const std::lock_guard lock(health_mutex_);
  if (lost_.code == errc::none) return {};
  return unexpected(lost_);
}

void device::lose(error why) {
  {
    const std::lock_guard lock(health_mutex_);
    if (lost_.code != errc::none) return;
    lost_ = why;
    if (lost_.where.empty()) lost_.where = description();
  }
  // Who is told may drop the last of what keeps it.
  const auto self = shared_from_this();
  std::vector<std::shared_ptr<stream_state>> all;
  {
    const std::lock_guard lock(order_);
    for (const auto& weak : streams_) {
      if (auto s = weak.lock()) all.push_back(std::move(s));
    }
  }
  for (const auto& s : all) s->fail(s->completed() + 1, why);
  device_memory_->wake();
  pinned_memory_->wake();
}

}  // namespace hydrogen::gpu
