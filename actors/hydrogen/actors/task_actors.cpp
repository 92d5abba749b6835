#include <hydrogen/actors/task_actors.hpp>
#include <hydrogen/exec/devices.hpp>

#include <utility>

namespace hydrogen::actors {
namespace {

thread_local caf::actor_system* system_here = nullptr;

/// What a kernel actor still does is short, unless the driver does not answer: then the device is of no more use.
void end_kernel_actor(const caf::actor& actor, exec::task_device& on) {
  caf::scoped_actor self(actor.home_system());
  self->monitor(actor);
  caf::anon_send(actor, stop_mail{});
  self->receive([](const caf::down_msg&) {},
                caf::after(on.patience()) >>
                    [&] {
                      on.device().lose({errc::timed_out, "a kernel actor does not end, and its task is over", {}, {}});
                    });
}

}  // namespace

current_system::current_system(caf::actor_system& system) {
  system_here = &system;
}

current_system::~current_system() {
  system_here = nullptr;
}

caf::actor_system& system_of_task() {
  if (system_here == nullptr) throw failure({errc::refused, "there is no task on this thread", "system_of_task", {}});
  return *system_here;
}

device_queue_ptr open_device_queue(std::string label, std::size_t which) {
  return std::make_shared<device_queue>(exec::device(which).make_stream(std::move(label)), system_of_task());
}

caf::actor spawn_kernel_actor(gpu::kernel code, kernel_actor_options options, std::size_t which) {
  auto& on = exec::device(which);
  if (options.label.empty() && code) options.label = code->name;
  auto queue = open_device_queue(options.label, which);
  auto actor = spawn_kernel_actor(std::move(queue), std::move(code), std::move(options), system_of_task());
  on.at_end([actor, &on] { end_kernel_actor(actor, on); });
  return actor;
}

}  // namespace hydrogen::actors
