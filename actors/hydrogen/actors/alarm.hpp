#pragma once
// Turns the `next_wakeup()` of a machine into `wake_up` messages of its actor. An alarm that rings early does no harm:
// the machine looks at the time itself, and the actor sets it again.

#include <hydrogen/actors/mail.hpp>
#include <hydrogen/base/clock.hpp>

#include <algorithm>
#include <vector>

namespace hydrogen::actors {

class alarm {
 public:
  /// After every event: rings at `next` at the latest.
  void set(caf::event_based_actor* self, time_point next) {
    if (next == never || (!under_way_.empty() && under_way_.back() <= next)) return;
    under_way_.push_back(next);
    self->delayed_send(self, std::max(duration::zero(), next - now()), wake_up{});
  }
  /// In the handler of `wake_up`, once for each.
  void rang() {
    if (!under_way_.empty()) under_way_.pop_back();
  }

 private:
  // What was sent cannot be taken back, so what is due later stays under way, and is used when its time has come. Each
  // is earlier than all before it, so the last one rings first.
  std::vector<time_point> under_way_;
};

}  // namespace hydrogen::actors
