#pragma once
// The job actor: a thin translation around job::machine. It lives in the driver's process, one per job.

#include <hydrogen/actors/mail.hpp>
#include <hydrogen/job/machine.hpp>

#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <vector>

namespace hydrogen::actors {

/// What waits for a job actor, beside its mailbox: one mail rings for all that came since the last one was answered.
/// Thread-safe.
class job_inbox {
 public:
  /// True: the actor is to be told.
  bool put(job::event what) {
    std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(what));
    return waiting_.size() == 1;
  }
  bool put(std::vector<job::event> some) {
    std::lock_guard lock(mutex_);
    const auto first = waiting_.empty() && !some.empty();
    std::move(some.begin(), some.end(), std::back_inserter(waiting_));
    return first;
  }
  /// All of them, in order, into `events`, which is empty.
  void take(std::vector<job::event>& events) {
    std::lock_guard lock(mutex_);
    events.swap(waiting_);
  }

 private:
  std::mutex mutex_;
  std::vector<job::event> waiting_;
};

struct job_inbox_mail {};

struct job_handle {
  caf::actor actor;
  std::shared_ptr<job_inbox> inbox;
};

/// What the actor does with the machine's effects. Called on the actor's worker; nothing here may block.
struct job_surroundings {
  std::function<void(gang::from_job&&)> to_coordinator;
  std::function<void(const data::process_ref&, std::vector<exec::to_task_host>&&)> to_executor;
  std::function<void(job_handle self, job::copy_blocks&&)> copy_blocks;
  std::function<void(const std::vector<data::block_id>&)> drop_copies;
  std::function<void(std::vector<job::effect>&&)> outcomes;  // result_ready, finished, failed
  std::function<void()> over;                                // the machine has nothing left to confirm
};

job_handle spawn_job(caf::actor_system&, job::setup, job_surroundings);

inline void tell_job(const job_handle& job, job::event what) {
  if (job.inbox->put(std::move(what))) caf::anon_send(job.actor, job_inbox_mail{});
}

inline void tell_job(const job_handle& job, std::vector<job::event> some) {
  if (job.inbox->put(std::move(some))) caf::anon_send(job.actor, job_inbox_mail{});
}

}  // namespace hydrogen::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::actors::job_inbox_mail)
