#include <hydrogen/actors/device_queue.hpp>
#include <hydrogen/actors/scheduler.hpp>

namespace hydrogen::actors {

void device_queue::notify(const caf::actor& to, std::uint64_t tag) {
  stream_.here().then([to, tag, &system = system_](const expected<void>& done) {
    // Who is woken runs on the device's thread, which has just become free.
    const scheduler::helper actors(system);
    caf::anon_send(to, device_done{tag, done ? error{errc::none, {}, {}, {}} : done.error()});
  });
}

}  // namespace hydrogen::actors
