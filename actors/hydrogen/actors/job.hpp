#pragma once
// The job actor: a thin translation around job::machine. It lives in the driver's process, one per job.

#include <hydrogen/actors/mail.hpp>
#include <hydrogen/job/machine.hpp>

#include <functional>
#include <memory>

namespace hydrogen::actors {

struct job_event_mail {
  std::shared_ptr<job::event> what;
};

/// What the actor does with the machine's effects. Called on the actor's worker; nothing here may block.
struct job_surroundings {
  std::function<void(const gang::from_job&)> to_coordinator;
  std::function<void(const data::process_ref&, exec::to_task_host&&)> to_executor;
  std::function<void(caf::actor self, job::copy_blocks&&)> copy_blocks;
  std::function<void(const std::vector<data::block_id>&)> drop_copies;
  std::function<void(job::effect&&)> outcome;  // result_ready, finished, failed
  std::function<void()> over;                  // the machine has nothing left to confirm
};

caf::actor spawn_job(caf::actor_system&, job::setup, job_surroundings);

inline void tell_job(const caf::actor& job, job::event what) {
  caf::anon_send(job, job_event_mail{std::make_shared<job::event>(std::move(what))});
}

}  // namespace hydrogen::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::job_event_mail)
