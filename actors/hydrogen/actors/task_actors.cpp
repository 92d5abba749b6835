#include <hydrogen/actors/task_actors.hpp>
#include <hydrogen/exec/devices.hpp>

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

namespace hydrogen::actors {
namespace {

/// The kernel actors of a task on one of its devices that have not ended.
struct kernel_actors {
  std::mutex mutex;
  std::map<caf::actor_id, caf::actor> alive;
};

thread_local caf::actor_system* system_here = nullptr;
thread_local std::map<const exec::task_device*, std::shared_ptr<kernel_actors>> kernels_here;

/// What a kernel actor still does is short, unless the driver does not answer: then the device is of no more use.
void end_kernel_actors(kernel_actors& kernels, exec::task_device& on) {
  std::map<caf::actor_id, caf::actor> alive;
  {
    const std::lock_guard lock(kernels.mutex);
    alive = kernels.alive;
  }
  if (alive.empty()) return;
  caf::scoped_actor self(alive.begin()->second.home_system());
  for (const auto& [id, actor] : alive) {
    self->monitor(actor);
    caf::anon_send<caf::message_priority::high>(actor, stop_mail{});  // before calls that wait
  }
  const auto deadline = now() + on.patience();
  for (std::size_t left = alive.size(); left > 0; --left) {
    bool late = false;
    self->receive([](const caf::down_msg&) {},
                  caf::after(std::max(deadline - now(), duration::zero())) >> [&] { late = true; });
    if (!late) continue;
    return on.device().lose({errc::timed_out, "a kernel actor does not end, and its task is over", {}, {}});
  }
}

void ends_with_task(const caf::actor& actor, exec::task_device& on) {
  auto& kernels = kernels_here[&on];
  if (!kernels) {
    kernels = std::make_shared<kernel_actors>();
    on.at_end([kernels = kernels, &on] { end_kernel_actors(*kernels, on); });
  }
  {
    const std::lock_guard lock(kernels->mutex);
    kernels->alive.emplace(actor.id(), actor);
  }
  actor->attach_functor([kernels = kernels, id = actor.id()](const caf::error&) {
    const std::lock_guard lock(kernels->mutex);
    kernels->alive.erase(id);
  });
}

}  // namespace

current_system::current_system(caf::actor_system& system) {
  system_here = &system;
}

current_system::~current_system() {
  system_here = nullptr;
  kernels_here.clear();
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
  ends_with_task(actor, on);
  return actor;
}

}  // namespace hydrogen::actors
