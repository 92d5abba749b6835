#pragma once
// A task on its executor: the actor owns the conversation with the job, the body runs on a slot thread.

#include <hydrogen/actors/device_keeper.hpp>
#include <hydrogen/actors/mail.hpp>
#include <hydrogen/actors/process.hpp>
#include <hydrogen/actors/slot_pool.hpp>
#include <hydrogen/comm/rendezvous.hpp>
#include <hydrogen/exec/environment.hpp>

#include <memory>
#include <optional>

namespace hydrogen::actors {

/// What all tasks of one executor share. Lives as long as any of its tasks.
struct task_surroundings {
  task_surroundings(process& home, boot_id boot, std::string node, std::shared_ptr<data::block_store> store)
      : home(home), boot(boot), node(std::move(node)), store(std::move(store)) {}
  process& home;
  const boot_id boot;
  const std::string node;
  const std::shared_ptr<data::block_store> store;
  std::shared_ptr<device_keeper> devices;
  caf::actor_addr executor;  // weak: tasks do not keep their executor alive
  duration join_timeout{};
  duration enter_timeout{};
};

/// The ranks of one gang attempt on one executor. `enter` lets user code begin, when all ranks of the gang, everywhere,
/// have joined: those of this executor, and those of others that wait at the same gate.
class gang_gate final : public gang::hosted_gang {
 public:
  gang_gate(exec::join_gang, boot_id executor);
  const comm::gang_table members;

  /// Any thread. `permit`: only gates at which all ranks of the gang wait, which open when the last one comes.
  void permit();
  void enter();
  /// A rank will wait at a gate that this opens; at once, if that was called before. `of_all`: all ranks wait there.
  void add(std::function<void()> open, bool of_all);
  /// What the job has said about complete checkpoints. Any thread.
  void know(const exec::checkpoint_known&);
  exec::known_steps known() const;

 private:
  void open(bool all);

  mutable std::mutex mutex_;
  bool permitted_ = false, entered_ = false;
  exec::known_steps known_;
  std::vector<std::function<void()>> of_all_, of_one_;
};

/// The task as an executor keeps it. Its actor is spawned when it is pushed to its lane.
class executor_task final : public slot_task {
 public:
  executor_task(exec::task, std::shared_ptr<task_surroundings>, std::shared_ptr<const task_reply>);

  /// `gate`: of a rank, else null. Again: does nothing.
  void become_actor(std::shared_ptr<gang_gate> gate);
  /// Of a rank on a host: `come` would not block.
  bool can_come() const;
  /// The rank meets the others. Blocks only for links to other processes. What has become of it.
  const expected<comm::met_rank>& come(time_point deadline);
  /// An answer to the job before, or instead of, becoming an actor.
  void reply(exec::from_task_host&& answer) const { (*reply_)(std::move(answer)); }

  /// Parallel stage: the work. Rank: links to all peers, joined, waits for enter, the work.
  void run() override;
  /// Hands this to the task's actor, with the outcome.
  void finish(std::shared_ptr<slot_task> self, bool others_wait) override;

 private:
  friend class task_actor;
  void perform(comm::group* gang);
  /// The seat of this task for its devices: of a rank how many ranks with lower numbers live here, else one that is
  /// free, taken at the first call.
  expected<std::uint32_t> seat();
  void leave_devices();
  void run_rank();

  const std::shared_ptr<task_surroundings> env_;
  const std::shared_ptr<const task_reply> reply_;
  std::shared_ptr<gang_gate> gate_;
  std::optional<expected<comm::met_rank>> met_;
  caf::actor actor_;
  exec::from_task_host outcome_;
  std::optional<std::uint32_t> seat_;  // of a task of a lease, while it uses devices
  bool returned_ = false;              // a rank whose function has returned
};

/// Sends the outcome of one task to its job, once.
class task_actor : public caf::event_based_actor {
 public:
  using event_based_actor::event_based_actor;
  caf::behavior make_behavior() override;
  /// CAF's own wakes the thread of its clock, to drop timeouts of this actor. It has none, and tasks end often.
  bool cleanup(caf::error&&, caf::execution_unit*) override;
};

}  // namespace hydrogen::actors
