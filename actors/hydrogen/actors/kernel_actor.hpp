#pragma once
// A kernel as an actor: it takes kernel_call, and answers with kernel_result. Values of the host (vectors, numbers) are
// copied to the device; buffers stay where they are. A result that is left on the device is answered at once, before it
// has been computed: the next kernel's stream waits for it on the device, so that chains of kernel actors do not come
// back to the host between. A result that is wanted as a value is answered when it is there.
//
// Errors are replies (caf::error): sec::invalid_argument names the kernel, the port and both types, sizes or devices;
// sec::runtime_error says what went wrong on the device. stop_mail ends it. Each has a thread of its own (CAF's
// *detached*), since the driver may wait for the device when it makes memory.

#include <hydrogen/actors/device_queue.hpp>

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace hydrogen::actors {

/// Numbers of one type that lie in memory of a device.
struct device_numbers {
  gpu::element type = gpu::element::float32;
  gpu::memory_ptr memory;
  void* at = nullptr;
  std::size_t n = 0;

  template <class T>
  static device_numbers of(const gpu::buffer<T>& b) {
    using plain = std::remove_const_t<T>;
    return {gpu::element_of<plain>, b.shared(), const_cast<plain*>(b.data()), b.size()};
  }
  /// Throws `failure` (bad_input) if they are of another type.
  template <gpu::number T>
  gpu::buffer<T> as() const {
    if (type != gpu::element_of<T>) {
      gpu::refuse("device_numbers", std::string(to_string(type)) + " is not " + to_string(gpu::element_of<T>));
    }
    return {memory, static_cast<T*>(at), n};
  }
};

/// Numbers of one type in memory of the host, or, with one, the value of a port that takes a single number.
struct host_numbers {
  gpu::element type = gpu::element::float32;
  std::vector<std::byte> bytes;

  std::size_t size() const { return bytes.size() / size_of(type); }
  template <gpu::number T>
  static host_numbers of(const std::vector<T>& v) {
    const auto all = std::as_bytes(std::span(v));
    return {gpu::element_of<T>, {all.begin(), all.end()}};
  }
  template <gpu::number T>
  static host_numbers value(T x) {
    return of(std::vector<T>{x});
  }
  /// Throws `failure` (bad_input) if they are of another type.
  template <gpu::number T>
  std::vector<T> as() const {
    if (type != gpu::element_of<T>) {
      gpu::refuse("host_numbers", std::string(to_string(type)) + " is not " + to_string(gpu::element_of<T>));
    }
    std::vector<T> out(size());
    if (!out.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
    return out;
  }
};

/// For an output that the caller has no memory for: how many numbers.
struct output_size {
  std::size_t n = 0;
};

/// One for each port, in their order.
struct kernel_call {
  std::vector<std::variant<host_numbers, device_numbers, output_size>> arguments;
};
/// One for each out and in-out port, in their order.
struct kernel_result {
  std::vector<std::variant<host_numbers, device_numbers>> outputs;
};

struct kernel_actor_options {
  /// The grid for these arguments, which may refuse their sizes (gpu::refuse). Null: all buffers have one size, and the
  /// grid a thread for each of their numbers, 256 to a block.
  std::function<gpu::launch_shape(std::span<const gpu::argument>)> shape = {};
  bool results_as_values = false;  // else they stay on the device
  std::string label = {};          // for messages; empty: the kernel's name
};

/// Compiles the kernel. Throws `failure`: what the device or the compiler says. For tasks: task_actors.hpp.
caf::actor spawn_kernel_actor(device_queue_ptr, gpu::kernel, kernel_actor_options, caf::actor_system&);

}  // namespace hydrogen::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::kernel_call)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::kernel_result)
