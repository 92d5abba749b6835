#pragma once
// Actors of applications, in tasks: the actor system of the process, and devices of the task for actors. On the task's
// thread, for the length of its function.
//
//   void scale(hydrogen::rows<float> rows, hydrogen::emitter<float>& out) {
//     const auto twice = hydrogen::actors::spawn_kernel_actor(twice_kernel(), {.results_as_values = true});
//     caf::scoped_actor self(hydrogen::actors::system_of_task());
//     self->request(twice, 10s, kernel_call{...}).receive(...);
//   }
//
// Actors that an application spawns itself are its own to end, before the task does; kernel actors end with the task.
// All of them throw `failure` (refused) outside of tasks.

#include <hydrogen/actors/device_queue.hpp>
#include <hydrogen/actors/kernel_actor.hpp>

namespace hydrogen::actors {

/// That of the executor that runs the task: stays until all tasks are over.
caf::actor_system& system_of_task();

/// A queue of the task's `which`-th device, for an actor; not to be used when the task is over, which waits for what is
/// enqueued. Throws `failure`: not_found (the task has fewer devices), what the device says.
device_queue_ptr open_device_queue(std::string label, std::size_t which = 0);

/// A kernel as an actor, on the task's `which`-th device; compiles it. The end of the task ends it. Throws as above,
/// and bad_input (the compiler's words).
caf::actor spawn_kernel_actor(gpu::kernel, kernel_actor_options = {}, std::size_t which = 0);

/// For the executor: what runs on this thread until the end of its life is a task with this system.
class current_system {
 public:
  explicit current_system(caf::actor_system&);
  ~current_system();
  current_system(const current_system&) = delete;
};

}  // namespace hydrogen::actors
