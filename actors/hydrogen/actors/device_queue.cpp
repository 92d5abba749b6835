#include <hydrogen/actors/device_actor.hpp>
#include <hydrogen/actors/scheduler.hpp>

namespace hydrogen::actors {
namespace {

class device_actor : public caf::event_based_actor {
 public:
  device_actor(caf::actor_config& cfg, std::shared_ptr<gpu::device> device)
      : event_based_actor(cfg), device_(std::move(device)) {}

  caf::behavior make_behavior() override {
    return {[this](const open_queue& m) -> caf::result<device_queue_ptr> {
              auto made = device_->make_stream(m.label, m.share);
              if (!made) return caf::make_error(caf::sec::runtime_error, made.error().message());
              return std::make_shared<device_queue>(std::move(*made), system());
            },
            [this](const enqueue_work& m) {
              const auto sender = caf::actor_cast<caf::actor>(current_sender());
              try {
                m.work(m.on->stream());
              } catch (const failure& f) {
                return anon_send(sender, device_done{m.tag, f.reason()});
              } catch (const std::exception& e) {
                return anon_send(sender, device_done{m.tag, {errc::task_failed, e.what(), {}, {}}});
              }
              m.on->notify(sender, m.tag);
            },
            [this](const stop_mail&) { quit(); }};
  }

  void on_exit() override { device_.reset(); }

 private:
  static void anon_send(const caf::actor& to, device_done what) { caf::anon_send(to, std::move(what)); }

  std::shared_ptr<gpu::device> device_;
};

}  // namespace

void device_queue::notify(const caf::actor& to, std::uint64_t tag) {
  stream_.here().then([to, tag, &system = system_](const expected<void>& done) {
    // Who is woken runs on the device's thread, which has just become free.
    const scheduler::helper actors(system);
    caf::anon_send(to, device_done{tag, done ? error{errc::none, {}, {}, {}} : done.error()});
  });
}

caf::actor spawn_device_actor(caf::actor_system& system, std::shared_ptr<gpu::device> device) {
  return system.spawn<device_actor>(std::move(device));
}

}  // namespace hydrogen::actors
