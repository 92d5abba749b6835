#pragma once
// A device for an actor: a stream of its own. Whoever has one enqueues to it from its behaviour without waiting, and
// hears by mail when what it enqueued is done. No actor waits for a device.
//
// The device itself belongs to the device_keeper of the executor, which opens and closes it: both wait for the driver,
// which an actor must not.

#include <hydrogen/actors/mail.hpp>
#include <hydrogen/gpu/stream.hpp>

#include <memory>
#include <string>

namespace hydrogen::actors {

struct device_done {
  std::uint64_t tag = 0;
  error why{errc::none, {}, {}, {}};
};

/// Used by one thread at a time. The actor system must be there until the device is done.
class device_queue {
 public:
  device_queue(gpu::stream s, caf::actor_system& system) : stream_(std::move(s)), system_(system) {}

  gpu::stream& stream() { return stream_; }
  /// Tells `to` with device_done when everything enqueued so far is done, or has failed: `why` without a code if all
  /// went well. Throws `failure` (bad_input) while the stream records.
  void notify(const caf::actor& to, std::uint64_t tag);

 private:
  gpu::stream stream_;
  caf::actor_system& system_;
};
using device_queue_ptr = std::shared_ptr<device_queue>;

}  // namespace hydrogen::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::device_queue_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::device_done)
