#pragma once
// Kernels of applications: a name, typed ports, and code for each backend: CUDA C++ as source, compiled at its first
// use for the device at hand, and a function for the host. A kernel without code for a device's backend is refused
// there with both named. Plain values, any thread; kernels are shared and never change.

#include <hydrogen/base/error.hpp>
#include <hydrogen/gpu/element.hpp>

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace hydrogen::gpu {

/// What a kernel does with an argument. `value` is a single number, passed by value; the others are buffers.
enum class direction : std::uint8_t { value, in, out, in_out };
const char* to_string(direction);

struct port {
  std::string name;
  direction how = direction::in;
  element type = element::float32;
};

struct argument {
  direction how = direction::in;
  element type = element::float32;
  void* at = nullptr;      // of a buffer
  std::size_t n = 0;       // its elements
  std::uint64_t bits = 0;  // of a value: the first size_of(type) bytes
};

/// A grid of blocks of threads, as CUDA has it. The host function sees it and may ignore it.
struct launch_shape {
  std::array<std::uint32_t, 3> grid{1, 1, 1};
  std::array<std::uint32_t, 3> block{1, 1, 1};
  std::uint32_t shared_bytes = 0;
  bool operator==(const launch_shape&) const = default;
};

/// The arguments of one call on the host, checked against the ports before.
class host_call {
 public:
  host_call(std::span<const argument> arguments, const launch_shape& shape) : arguments_(arguments), shape_(shape) {}

  template <number T>
  std::span<const T> in(std::size_t port) const {
    return {static_cast<const T*>(arguments_[port].at), arguments_[port].n};
  }
  template <number T>
  std::span<T> out(std::size_t port) const {
    return {static_cast<T*>(arguments_[port].at), arguments_[port].n};
  }
  template <number T>
  T value(std::size_t port) const {
    return value_of<T>(arguments_[port].bits);
  }
  const launch_shape& shape() const { return shape_; }

  template <number T>
  static T value_of(std::uint64_t bits) {
    T x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
  }

 private:
  std::span<const argument> arguments_;
  const launch_shape& shape_;
};

/// What an application writes down once.
struct kernel_code {
  std::string name;  // also of the extern "C" __global__ function in `source`: buffers as pointers, values as they are
  std::vector<port> ports;
  std::string source;                          // CUDA C++; empty: not for CUDA devices
  std::function<void(const host_call&)> host;  // empty: not for the host backend. Runs on a thread of the device
  const char* label = "";                      // the name, for ever; set by make_kernel
};
using kernel = std::shared_ptr<const kernel_code>;

/// Errors: bad_input (no name, no code at all, more than 64 ports, a port without a name).
expected<kernel> make_kernel(kernel_code);

/// Whether arguments fit the ports: bad_input names the kernel, the port and both types.
expected<void> check(const kernel_code&, std::span<const argument>);

}  // namespace hydrogen::gpu
