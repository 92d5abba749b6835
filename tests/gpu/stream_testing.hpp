#pragma once
// What tests of streams share: a virtual device, kernels with a host function, a gate that kernels wait at.

#include <hydrogen/gpu/host/virtual_faults.hpp>
#include <hydrogen/gpu/repeated_step.hpp>
#include <hydrogen/gpu/stream.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

namespace hydrogen::gpu::testing {

inline constexpr std::uint64_t MiB = 1 << 20;

inline std::shared_ptr<device> virtual_device(std::uint64_t memory = 64 * MiB, std::uint32_t threads = 2,
                                              device_options options = {}) {
  return value_or_throw(device::open(virtual_devices(1, memory, threads)[0], options));
}

inline time_point soon() {
  return now() + std::chrono::seconds(20);
}

/// x[i] = 2 * x[i] + a, on the host.
inline kernel twice_and() {
  static const kernel made = value_or_throw(
      make_kernel({"twice_and",
                   {{"x", direction::in_out, element::int32}, {"a", direction::value, element::int32}},
                   {},
                   [](const host_call& call) {
                     for (auto& x : call.out<std::int32_t>(0)) {
                       // Wraps around, as what it is compared with does.
                       x = static_cast<std::int32_t>(2U * static_cast<std::uint32_t>(x) + call.value<std::uint32_t>(1));
                     }
                   },
                   ""}));
  return made;
}

template <class T>
argument of(const buffer<T>& b, direction how) {
  return {how, element_of<std::remove_const_t<T>>, const_cast<std::remove_const_t<T>*>(b.data()), b.size(), 0};
}

inline argument of(std::int32_t value) {
  argument a{direction::value, element::int32, nullptr, 0, 0};
  std::memcpy(&a.bits, &value, sizeof value);
  return a;
}

inline void enqueue_twice_and(stream& s, const buffer<std::int32_t>& x, std::int32_t a) {
  s.launch(twice_and(), {}, {of(x, direction::in_out), of(a)}, {x.owner()}, {x.owner()});
}

/// A kernel that runs a function.
inline kernel calls(std::function<void()> what) {
  return value_or_throw(make_kernel({"calls", {}, {}, [what](const host_call&) { what(); }, ""}));
}

/// Opened once; kernels of tests wait at it.
class gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    is_open_ = true;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return is_open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_open_ = false;
};

inline std::vector<std::int32_t> read(stream& s, const buffer<std::int32_t>& x) {
  std::vector<std::int32_t> out(x.size(), -1);
  value_or_throw(s.download(x, std::span(out), soon()));
  return out;
}

inline std::string failure_of(const std::function<void()>& what) {
  try {
    what();
  } catch (const failure& f) {
    return f.what();
  }
  return "nothing";
}

}  // namespace hydrogen::gpu::testing
