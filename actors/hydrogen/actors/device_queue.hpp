#pragma once
// Devices for actors. The device actor owns a device; other actors get queues from it, which are streams of their own:
// whoever has one enqueues to it without waiting, and hears by mail when what it enqueued is done. No actor ever waits
// for a device.
//
// The device actor takes
//   open_queue{label, share}       answered with std::shared_ptr<device_queue>, or an error (sec::runtime_error)
//   enqueue{queue, work, tag}      later device_done{tag, why} to the sender: `why` without a code if all went well
//   stop_mail                      ends; queues keep the device until they are gone
// What `work` throws is reported as device_done, and nothing more of it is enqueued.

#include <hydrogen/actors/mail.hpp>
#include <hydrogen/gpu/stream.hpp>

#include <functional>
#include <memory>
#include <string>

namespace hydrogen::actors {

/// A stream of one actor; used by one thread at a time.
class device_queue {
 public:
  device_queue(gpu::stream s, caf::actor_system& system) : stream_(std::move(s)), system_(system) {}

  gpu::stream& stream() { return stream_; }
  /// Tells `to` with device_done when everything enqueued so far is done, or has failed.
  void notify(const caf::actor& to, std::uint64_t tag);

 private:
  gpu::stream stream_;
  caf::actor_system& system_;
};
using device_queue_ptr = std::shared_ptr<device_queue>;

struct open_queue {
  std::string label;        // its owner, for messages
  std::uint64_t share = 0;  // bytes of the device's memory that it may take; 0: all
};
struct enqueue_work {
  device_queue_ptr on;
  std::function<void(gpu::stream&)> work;
  std::uint64_t tag = 0;
};
struct device_done {
  std::uint64_t tag = 0;
  error why{errc::none, {}, {}, {}};
};

caf::actor spawn_device_actor(caf::actor_system&, std::shared_ptr<gpu::device>);

}  // namespace hydrogen::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::device_queue_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::open_queue)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::enqueue_work)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::device_done)
