#pragma once
// A device runs kernels: a GPU through CUDA, or a virtual one whose kernels run on threads of this process, with the
// same results within what each kernel states (work.hpp). It owns its memory pools and its streams' order.
// Any thread, unless said.

#include <hydrogen/base/error.hpp>
#include <hydrogen/gpu/memory_pool.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace hydrogen::gpu {

class stream;
class trimmer;
struct backend_device;

enum class backend_kind : std::uint8_t { host, cuda };
const char* to_string(backend_kind);

struct device_info {
  backend_kind backend = backend_kind::host;
  std::string id;                // UUID: "GPU-9f6c..."; of a virtual device "virtual-0"
  std::string name;              // "NVIDIA H200", "host"
  std::uint32_t number = 0;      // among those that this process sees
  std::uint64_t memory = 0;      // bytes
  std::uint32_t capability = 0;  // 90: compute capability 9.0; 0: virtual
  std::uint32_t processors = 0;  // multiprocessors, or threads of a virtual device
  template <class I>
  friend auto inspect(I& f, device_info& x) {
    return f(x.backend, x.id, x.name, x.number, x.memory, x.capability, x.processors);
  }
};

/// What this machine has, found through the CUDA driver's library, which is loaded now if it is there. No driver or no
/// device: an empty list. Errors: io (a driver that does not answer, with what it says). Touches no device.
expected<std::vector<device_info>> find_devices();

/// Devices that are threads of this process: everything that is built on devices works with them everywhere.
/// `threads` 0: one per core that this process may run on, shared among the devices, at least one each.
std::vector<device_info> virtual_devices(std::uint32_t count, std::uint64_t memory_each, std::uint32_t threads = 0);

struct device_options {
  std::uint64_t memory_limit = 0;                       // bytes that buffers may take together; 0: all of the device
  std::uint64_t pinned_limit = std::uint64_t{1} << 30;  // bytes of pinned memory
  std::uint64_t keep = std::uint64_t{1} << 30;          // bytes of free memory that a pool keeps for the next buffer
};

/// What a device has done since it was opened.
struct device_counters {
  std::atomic<std::uint64_t> items{0};     // kernels and copies enqueued
  std::atomic<std::uint64_t> faults{0};    // streams that have failed
  std::atomic<std::uint64_t> captures{0};  // graphs captured
  std::atomic<std::uint64_t> replays{0};   // graphs replayed
};

/// To be called by threads that may drop the last of a device, and must not wait for it: those of backends, workers of
/// actors. Another thread takes it apart then.
void this_thread_must_not_wait();

class device : public std::enable_shared_from_this<device> {
 public:
  /// Takes the device into use. Errors: refused (this build has no CUDA), io (what the driver says).
  static expected<std::shared_ptr<device>> open(const device_info&, device_options = {});
  /// Waits until all of its work is done, and that of other devices which uses its memory, then gives everything back;
  /// a GPU's context goes with the last device of this process that is opened on it. Streams and memory keep their
  /// device, so the thread that drops the last of them waits, unless it is one of the device: never a CAF worker.
  ~device();
  device(const device&) = delete;

  const device_info& info() const { return info_; }
  /// "virtual-0 (host)", for messages.
  std::string description() const;

  /// A new ordered queue of work. `label` names its owner in messages: "rank 3 of digits". `share`: bytes of device
  /// memory that buffers which are allocated by it may take together; 0: all that there is.
  expected<stream> make_stream(std::string label, std::uint64_t share = 0);

  /// Makes memory that is there already pinned memory of this device: copies need no other one between. `memory` begins
  /// at a page and is kept as long as the result; no work may use it when that ends. Errors: io (what the driver says).
  expected<memory_ptr> pin(std::shared_ptr<std::byte> memory, std::size_t bytes);

  memory_pool& device_memory() { return *device_memory_; }
  memory_pool& pinned_memory() { return *pinned_memory_; }
  const device_counters& counters() const { return counters_; }
  void count_fault() { counters_.faults.fetch_add(1, std::memory_order_relaxed); }

  /// Healthy until something has failed in a way that no later work survives: `lost` has the reason then. Every wait
  /// of its streams ends with it.
  expected<void> health() const;
  /// From now on everything on this device fails: it was taken away, or has failed. Callable from any thread.
  void lose(error why);

 private:
  friend class stream;
  friend struct stream_state;
  friend class memory_pool;
  friend backend_device& backend_of(device&);
  expected<stream> make_stream(std::string label, std::shared_ptr<memory_share>);
  device(device_info, device_options);

  const device_info info_;
  std::unique_ptr<backend_device> backend_;
  std::mutex order_;  // one item at a time is put in order behind those that use the same memory
  std::vector<std::weak_ptr<stream_state>> streams_;  // under order_
  mutable std::mutex health_mutex_;
  error lost_{errc::none, {}, {}, {}};
  device_counters counters_;
  std::unique_ptr<memory_pool> device_memory_, pinned_memory_;
  std::unique_ptr<trimmer> trimmer_;
};

}  // namespace hydrogen::gpu
