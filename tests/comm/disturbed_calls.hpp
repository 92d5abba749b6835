#pragma once
// The calls that are disturbed: every collective, with sizes and buffers that go through every algorithm.

#include <hydrogen/comm/gradient_exchange.hpp>
#include <hydrogen/comm/group.hpp>

#include <array>
#include <functional>
#include <string>
#include <vector>

namespace hydrogen::comm::testing {

/// What one rank makes a call with.
struct call_setting {
  group& g;
  std::span<float> x;
  std::uint32_t victim = 0;  // within the group
  std::uint32_t other = 0;
  std::vector<byte_buffer>& got;  // results that are not in `x`
  call_options options;
  gradient_exchange* exchange;  // of a training step: its gradients are `x`
};

/// Of a training step: three buckets with one tensor each.
inline constexpr std::array<std::size_t, 3> step_tensors{89'600, 89'600, 89'600};
inline constexpr gradient_options step_options{.bucket_bytes = 1};

struct disturbed_call {
  enum class region { none, own_share, share_of_other, share_of_bucket, all };
  std::string name;
  std::size_t count = 0;
  bool in_pair = false;  // the victim and the rank after it; else the whole gang
  bool in_gang_buffer = false;
  /// Where in its `x` the victim is caught, and whether by reading as well.
  region where = region::none;
  bool on_write = false;
  std::function<expected<void>(const call_setting&)> make;
  std::string links = "memory stages tcp";  // shapes of teams over which it is made

  bool goes_over(const std::string& shape) const { return links.find(shape) != std::string::npos; }
  bool is_step() const { return where == region::share_of_bucket; }
  /// The pages of the victim in which it is caught: one, or more of them in order.
  std::vector<std::byte*> places(const call_setting&, std::size_t wanted) const;
};

const std::vector<disturbed_call>& disturbed_calls();

}  // namespace hydrogen::comm::testing
