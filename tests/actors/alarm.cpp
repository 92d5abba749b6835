// Deadlines of machines as messages of their actors.

#include <hydrogen/actors/alarm.hpp>

#include "stage.hpp"

using namespace hydrogen;
using namespace hydrogen::test;

namespace {

struct deadlines_mail {
  std::vector<time_point> all;
};

/// Waits for deadlines, one after the other, as an actor with a machine does. Some time after the last it tells how
/// often it was woken.
class clockwork : public caf::event_based_actor {
 public:
  clockwork(caf::actor_config& cfg, std::shared_ptr<std::promise<std::size_t>> rings)
      : event_based_actor(cfg), rings_(std::move(rings)) {}

  caf::behavior make_behavior() override {
    return {[this](const deadlines_mail& m) {
              for (const auto at : m.all) {
                due_.insert(at);
                set();
              }
            },
            [this](const actors::wake_up&) {
              alarm_.rang();
              ++count_;
              due_.erase(due_.begin(), due_.upper_bound(hydrogen::now()));
              set();
            }};
  }

 private:
  void set() {
    alarm_.set(this, due_.empty() ? never : *due_.begin());
    if (due_.empty() && rings_) std::exchange(rings_, nullptr)->set_value(count_);
  }

  std::shared_ptr<std::promise<std::size_t>> rings_;
  std::multiset<time_point> due_;
  actors::alarm alarm_;
  std::size_t count_ = 0;
};

}  // namespace

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(deadlines_mail)

TEST_CASE("an actor is woken at each of its deadlines, and no more often, in whatever order they were set") {
  stage s;
  const auto start = now();
  std::vector<std::vector<time_point>> orders(2);
  // Each earlier than those before, as the retries of a machine are than its timeouts; and the other way round.
  for (int i = 100; i > 0; --i) orders[0].push_back(start + 20ms + i * 1ms);
  orders[1].assign(orders[0].rbegin(), orders[0].rend());
  for (const auto& order : orders) {
    const auto rings = std::make_shared<std::promise<std::size_t>>();
    auto woken = rings->get_future();
    const auto actor = s.system().spawn<clockwork>(rings);
    caf::anon_send(actor, deadlines_mail{order});
    REQUIRE(woken.wait_for(60s) == std::future_status::ready);
    CHECK(woken.get() <= order.size());
    caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
  }
}
