#pragma once
// A task on its executor: the actor owns the conversation with the job, the body runs on a slot thread.

#include <hydrogen/actors/mail.hpp>
#include <hydrogen/actors/process.hpp>
#include <hydrogen/actors/slot_pool.hpp>
#include <hydrogen/comm/rendezvous.hpp>

#include <atomic>
#include <memory>

namespace hydrogen::actors {

/// What all tasks of one executor share. Lives as long as any of its tasks.
struct task_surroundings {
  task_surroundings(process& home, boot_id boot, std::string node, std::shared_ptr<data::block_store> store)
      : home(home), boot(boot), node(std::move(node)), store(std::move(store)) {}
  process& home;
  const boot_id boot;
  const std::string node;
  const std::shared_ptr<data::block_store> store;
  caf::actor_addr executor;  // weak: tasks do not keep their executor alive
  duration join_timeout{};
  duration enter_timeout{};
};

/// The ranks of one gang attempt on one executor. `members` is complete before the first rank is pushed to its lane;
/// `entered` becomes 1 when all ranks of the gang, everywhere, have joined: only then may user code begin.
struct gang_gate {
  explicit gang_gate(gang::attempt_ref ref) : ref(ref) {}
  const gang::attempt_ref ref;
  std::vector<comm::gang_member> members;
  std::atomic<std::uint32_t> entered{0};
};

/// Sends the outcome of one task to its job, once.
class task_actor : public caf::event_based_actor {
 public:
  task_actor(caf::actor_config&, task_reply, exec::task_id);
  caf::behavior make_behavior() override;
  void on_exit() override { reply_ = nullptr; }

 private:
  task_reply reply_;
  exec::task_id id_;
};

/// Runs a task of a parallel stage. The reply serves what a task says before its end (checkpoints).
std::function<void(slot_task&)> task_body(std::shared_ptr<task_surroundings>, caf::actor task, task_reply);
/// Runs a rank: links to all peers, joined, waits for enter, user code, returned.
std::function<void(slot_task&)> rank_body(std::shared_ptr<task_surroundings>, std::shared_ptr<gang_gate>,
                                          caf::actor task, task_reply);

}  // namespace hydrogen::actors
