#include <hydrogen/actors/coordinator_link.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>
#include <mutex>

namespace hydrogen::actors {

struct link_up {
  comm::connection_ptr connection;
};
struct link_down {
  error why;
};

}  // namespace hydrogen::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::link_up)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::link_down)

namespace hydrogen::actors {
namespace {

constexpr duration first_pause = 50ms;
constexpr duration longest_pause = 1s;

class link_actor : public caf::event_based_actor {
 public:
  link_actor(caf::actor_config& cfg, process& home, std::string endpoint, coordinator_link_handlers handlers)
      : event_based_actor(cfg),
        home_(home),
        endpoint_(std::move(endpoint)),
        handlers_(std::make_shared<coordinator_link_handlers>(std::move(handlers))) {}

  caf::behavior make_behavior() override {
    dial();
    return {[this](const link_up& m) {
              pause_ = first_pause;
              connection_ = m.connection;
            },
            [this](const link_down& m) {
              connection_.reset();
              if (stopping_) return;
              spdlog::debug("no connection to the coordinator at {}: {}", endpoint_, m.why.message());
              delayed_send(this, pause_, wake_up{});
              pause_ = std::min(pause_ * 2, longest_pause);
            },
            [this](const wake_up&) {
              if (!stopping_) dial();
            },
            [this](const stop_mail&) {
              stopping_ = true;
              if (connection_) connection_->close({errc::cancelled, "it ends", {}, {}});
              quit();
            }};
  }

  void on_exit() override {
    connection_.reset();
    handlers_.reset();
  }

 private:
  void dial() {
    const auto self = caf::actor_cast<caf::actor>(this);
    // `connected` runs on the dial thread and `lost` on the reactor's: never in the wrong order.
    struct order_of_news {
      std::mutex mutex;
      bool up = false;
      bool down = false;
    };
    const auto news = std::make_shared<order_of_news>();
    comm::connection_handlers events;
    events.on_frame = [handlers = handlers_](const comm::connection_ptr&, byte_buffer frame) {
      handlers->frame(std::move(frame));
    };
    events.on_closed = [handlers = handlers_, self, news](const comm::connection_ptr&, const error& why) {
      {
        std::lock_guard lock(news->mutex);
        news->down = true;
        if (news->up) handlers->lost(why);
      }
      caf::anon_send(self, link_down{why});
    };
    home_.connect(endpoint_, {}, process::dial_timeout, std::move(events),
                  [handlers = handlers_, self, news](expected<comm::connection_ptr> made) {
                    if (!made) {
                      if (handlers->refused) handlers->refused(made.error());
                      caf::anon_send(self, link_down{made.error()});
                      return;
                    }
                    caf::anon_send(self, link_up{*made});
                    std::lock_guard lock(news->mutex);
                    if (news->down) return;
                    news->up = true;
                    handlers->connected(*made);
                  });
  }

  process& home_;
  const std::string endpoint_;
  std::shared_ptr<coordinator_link_handlers> handlers_;
  comm::connection_ptr connection_;
  duration pause_ = first_pause;
  bool stopping_ = false;
};

}  // namespace

caf::actor spawn_coordinator_link(process& home, std::string endpoint, coordinator_link_handlers handlers) {
  return home.system().spawn<link_actor>(std::ref(home), std::move(endpoint), std::move(handlers));
}

}  // namespace hydrogen::actors
