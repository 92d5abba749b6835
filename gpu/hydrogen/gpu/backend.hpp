#pragma once
// What a backend implements: the host's threads (host/) and CUDA (cuda/). Everything above, streams, order, pools,
// recordings, waits and errors, is the same code for both.

#include <hydrogen/gpu/device.hpp>
#include <hydrogen/gpu/graph.hpp>
#include <hydrogen/gpu/stream_state.hpp>

#include <cstddef>
#include <memory>
#include <vector>

namespace hydrogen::gpu {

/// What an item needs of one that it stands behind: `result`, and it fails where that has failed; or that it has come
/// to its `end`, whatever came of it, because both use the same memory.
enum class behind : std::uint8_t { result, end };

/// The queue of one stream. It tells its stream_state how far it is (`complete`) and what went wrong (`fail`), from
/// threads of its own, in order. After `fail`, or when the device is lost, what is left is completed without being run.
/// `submit` and `wait_for` are called under the device's order lock, positions ascending by one; `want` and `help` by
/// any thread. `fail` and device::lose take that lock and call who waits: not from `submit` or `wait_for`. None of them
/// but `help` waits for the device.
struct backend_stream {
  virtual ~backend_stream() = default;
  virtual void submit(recorded item, std::uint64_t at) = 0;
  virtual void submit(std::shared_ptr<prepared_graph> recording, std::uint64_t at) = 0;
  /// What is submitted from now on begins when `other` has completed `at`, which has been submitted there.
  virtual void wait_for(const std::shared_ptr<stream_state>& other, std::uint64_t at, behind) = 0;
  /// Somebody waits for this position: `complete` must be called soon after it is done.
  virtual void want(std::uint64_t at) = 0;
  /// The caller would sleep until this position is done, or the deadline, or the abort. It may do some of the work
  /// instead, as long as that cannot hang.
  virtual void help(std::uint64_t, time_point, const abort_word*) {}
};

struct backend_device {
  virtual ~backend_device() = default;
  virtual expected<std::unique_ptr<backend_stream>> make_stream(stream_state&) = 0;
  /// Aligned to 256 bytes. May take long, as `free` may: no lock is held. Errors: over_limit (there is not as much), io
  /// (what the driver says).
  virtual expected<void*> allocate(memory_kind, std::size_t bytes) = 0;
  virtual void free(memory_kind, void* at, std::size_t bytes) noexcept = 0;
  /// Memory of the host that is there already becomes pinned memory, and is that no more. Errors: io.
  virtual expected<void> pin(void*, std::size_t) { return {}; }
  virtual void unpin(void*) noexcept {}
  /// Bytes of device memory, aligned to 256, that the kernel needs beside its arguments while it runs.
  virtual std::size_t scratch_for(const work::any&) const = 0;
  /// Whether it can be run here: a custom kernel has code for this backend, which compiles. May take long at the first
  /// use of a kernel. Errors: refused (no code), bad_input (the compiler's words).
  virtual expected<void> can_run(const work::any&) { return {}; }
  virtual expected<std::shared_ptr<prepared_graph>> prepare(std::vector<recorded> items) = 0;
  /// The device is the one that the calling thread uses, as far as libraries ask the driver for it.
  virtual expected<void> use_here() { return {}; }
  /// Returns when all work is done. No stream is used any more.
  virtual void drain() noexcept = 0;
};

backend_device& backend_of(device&);

/// Threads of this process (host/host_device.cpp).
std::unique_ptr<backend_device> open_host_device(device& front);
/// CUDA (cuda/), or why not: a build without it, no driver.
expected<std::unique_ptr<backend_device>> open_cuda_device(device& front);
expected<std::vector<device_info>> find_cuda_devices();

}  // namespace hydrogen::gpu
