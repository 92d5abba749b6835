#pragma once
// The gradients of a training step on devices, added up over all ranks while the rest of them is still being computed.
// The same buckets, options and bits as of gradients in memory (comm/gradient_exchange.hpp), wherever the ranks are:
//
// - all ranks share one device: one kernel per bucket adds up all of them, where they lie;
// - otherwise a bucket is copied to memory of the gang, exchanged there as all other data, and copied back. Copies in
//   both directions, exchanges and kernels of the rank overlap. Where as many ranks share each device, one kernel adds
//   theirs up before, and the first of them alone exchanges.
//
// Asked for by name, ranks that have a device each exchange by NCCL (gpu/peer_group.hpp), which is faster between GPUs
// that have links, and whose order of addition is its own: other bits than those above.
//
//     auto sums = gang.gradients(gang.device(), sizes, {.clip_norm = 1.0f});
//     each step:  for the layers, last to first:  enqueue what writes sums.gradient(i);  sums.ready(i);
//                 sums.finish();  enqueue what reads sums.gradient(i)
//
// Used by the rank's thread, for the length of its function. What can be waited for on the device is not waited for
// here. Misuse and failures are thrown as `failure`, as by all calls of the gang.

#include <hydrogen/comm/gradient_options.hpp>
#include <hydrogen/exec/devices.hpp>

#include <chrono>
#include <memory>
#include <source_location>
#include <vector>

namespace hydrogen::comm {
class group;
}

namespace hydrogen::exec {

enum class device_exchange : std::uint8_t { same_bits, nccl };

class device_gradients {
 public:
  /// All ranks of the gang make it, with the numbers of elements of the same tensors and the same options, each with
  /// its own device; once, before the first step. `timeout` of each call. Of NCCL also: refused (it is not there, or a
  /// device is virtual), bad_input (ranks share a device).
  device_gradients(comm::group&, task_device&, const std::vector<std::size_t>& sizes, comm::gradient_options,
                   device_exchange by, std::chrono::nanoseconds timeout,
                   std::source_location at = std::source_location::current());
  ~device_gradients();
  device_gradients(const device_gradients&) = delete;

  std::size_t tensors() const;
  std::size_t buckets() const;

  /// Where gradient i is written, and added to in further micro-batches, before `ready(i)`; after `finish` the result.
  /// The same memory for as long as this lives, so work on it can be recorded.
  gpu::buffer<float> gradient(std::size_t i) const;
  /// What has been enqueued to the stream of the rank's device completes it; best from the last layer to the first.
  void ready(std::size_t i);
  /// After all gradients of a micro-batch. Of the last one: returns when everything that gives the sums has been
  /// enqueued, so that what comes after it in the stream finds them. Clipped, it waits for the norm of all gradients
  /// before clipping, and returns it; otherwise 0.
  double finish();

  /// For people: "one kernel", "links", "one kernel and links", "NCCL".
  const char* way() const;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace hydrogen::exec
