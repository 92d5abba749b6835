#pragma once
// Turns the `next_wakeup()` of a machine into one pending `wake_up` of its actor. An alarm that rings early does no
// harm: the machine looks at the time itself, and the actor sets it again.

#include <hydrogen/actors/mail.hpp>
#include <hydrogen/base/clock.hpp>

#include <algorithm>

namespace hydrogen::actors {

class alarm {
 public:
  /// After every event: rings at `next` at the latest.
  void set(caf::event_based_actor* self, time_point next) {
    if (next >= armed_) return;
    armed_ = next;
    self->delayed_send(self, std::max(duration::zero(), next - now()), wake_up{});
  }
  /// In the handler of `wake_up`.
  void rang() { armed_ = never; }

 private:
  time_point armed_ = never;
};

}  // namespace hydrogen::actors
