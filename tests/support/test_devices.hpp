#pragma once
// The devices that tests of kernels run on: a virtual one, and this machine's first CUDA device if it has one.

#include <hydrogen/gpu/device.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <vector>

namespace kernel_tests {

/// Opened once, and kept.
inline const std::vector<std::shared_ptr<hydrogen::gpu::device>>& test_devices() {
  using namespace hydrogen::gpu;
  static const auto devices = [] {
    std::vector<std::shared_ptr<device>> all;
    all.push_back(hydrogen::value_or_throw(device::open(virtual_devices(1, std::uint64_t{2} << 30, 1).front())));
    const auto found = find_devices();
    if (found && !found->empty()) {
      all.push_back(hydrogen::value_or_throw(device::open(found->front())));
    } else {
      MESSAGE("skipped: no device");
    }
    return all;
  }();
  return devices;
}

}  // namespace kernel_tests
