#include <hydrogen/actors/scheduler.hpp>
#include <hydrogen/actors/task.hpp>
#include <hydrogen/actors/task_actors.hpp>
#include <hydrogen/base/log.hpp>
#include <hydrogen/exec/perform_task.hpp>

#include <spdlog/fmt/compile.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <iterator>
#include <optional>

namespace hydrogen::actors {
namespace {

constexpr std::size_t kept_log_lines = 20;

}  // namespace

gang_gate::gang_gate(exec::join_gang what, boot_id executor)
    : hosted_gang({what.request, what.attempt},
                  static_cast<std::uint32_t>(std::count_if(what.members.begin(), what.members.end(),
                                                           [=](const auto& m) { return m.executor == executor; })),
                  what.members.is_one_process(), what.members.is_one_host() && !what.members.is_one_process()),
      members(std::move(what.members)) {}

void gang_gate::permit() {
  open(false);
}

void gang_gate::enter() {
  open(true);
}

void gang_gate::open(bool all) {
  std::vector<std::function<void()>> gates;
  {
    std::lock_guard lock(mutex_);
    permitted_ = true;
    entered_ |= all;
    gates.swap(of_all_);
    if (all) {
      std::move(of_one_.begin(), of_one_.end(), std::back_inserter(gates));
      of_one_.clear();
    }
  }
  for (const auto& gate : gates) gate();
}

void gang_gate::add(std::function<void()> open, bool of_all) {
  {
    std::lock_guard lock(mutex_);
    if (!(of_all ? permitted_ : entered_)) return (of_all ? of_all_ : of_one_).push_back(std::move(open));
  }
  open();
}

void gang_gate::know(const exec::checkpoint_known& what) {
  std::lock_guard lock(mutex_);
  known_ = {what.step, what.replicated};
}

exec::known_steps gang_gate::known() const {
  std::lock_guard lock(mutex_);
  return known_;
}

caf::behavior task_actor::make_behavior() {
  return {[this](const outcome_mail& mail) {
    mail.task->reply(std::move(mail.task->outcome_));
    quit();
  }};
}

bool task_actor::cleanup(caf::error&& why, caf::execution_unit* host) {
  if (!mailbox().closed()) mailbox().close();
  unregister_from_system();
  return monitorable_actor::cleanup(std::move(why), host);
}

executor_task::executor_task(exec::task what, std::shared_ptr<task_surroundings> env,
                             std::shared_ptr<const task_reply> reply)
    : slot_task(std::move(what)), env_(std::move(env)), reply_(std::move(reply)) {}

void executor_task::become_actor(std::shared_ptr<gang_gate> gate) {
  if (actor_) return;
  gate_ = std::move(gate);
  actor_ = env_->home.system().spawn<task_actor, caf::lazy_init>();
}

void executor_task::run() {
  gate_ ? run_rank() : perform(nullptr);
}

bool executor_task::can_come() const {
  return gate_ && env_->home.gang_links().is_ready({ref.request, ref.attempt}, id.partition, gate_->members);
}

const expected<comm::met_rank>& executor_task::come(time_point deadline) {
  met_ = env_->home.gang_links().meet({ref.request, ref.attempt}, id.partition, gate_->members, abort, deadline);
  if (*met_) gate_->add((*met_)->with->opener(), (*met_)->how != comm::arrival::alone);
  if (*met_ && gate_->on_host) gate = (*met_)->with->waits_in();
  return *met_;
}

void executor_task::perform(comm::group* gang) {
  exec::task_environment environment{
      .store = *env_->store,
      .fetch =
          [this](std::span<const data::block_ref> refs) {
            return env_->home.fetch(refs, abort, env_->store.get(), nullptr);
          },
      .gang = gang,
      .abort = abort,
      .report_checkpoint = [this](const exec::checkpointed& piece) -> expected<void> {
        reply(piece);
        return {};
      },
      .known_checkpoint = [this] { return gate_ ? gate_->known() : exec::known_steps{}; },
      .self = {env_->boot, env_->home.endpoint()},
      .host = env_->node,
  };
  if (what.gpus != 0) {
    environment.devices.lend = [this](std::size_t which) -> expected<exec::lent_device> {
      const auto mine = seat();
      if (!mine) return unexpected(mine.error());
      return env_->devices->lend(ref, *mine, which, now() + env_->join_timeout, abort);
    };
    environment.devices.granted = [this]() -> expected<std::vector<gpu::device_info>> {
      const auto mine = seat();
      if (!mine) return unexpected(mine.error());
      return env_->devices->devices_of(ref, *mine, now() + env_->join_timeout, abort);
    };
  }
  const current_system system(env_->home.system());
  auto result = exec::perform_task(what, environment);
  leave_devices();
  returned_ = std::holds_alternative<exec::task_done>(result);
  std::visit([this](auto& x) { outcome_ = std::move(x); }, result);
}

expected<std::uint32_t> executor_task::seat() {
  if (gate_) {
    return static_cast<std::uint32_t>(std::count_if(gate_->members.begin(), gate_->members.begin() + id.partition,
                                                    [this](const auto& m) { return m.executor == env_->boot; }));
  }
  if (!seat_) {
    const auto taken = env_->devices->take_seat(ref, now() + env_->join_timeout, abort);
    if (!taken) return taken;
    seat_ = *taken;
  }
  return *seat_;
}

/// Other tasks of the lease take over its seat, but not a device that is lost.
void executor_task::leave_devices() {
  if (!seat_) return;
  env_->devices->leave_seat(ref, *seat_);
  if (env_->devices->lost().code == errc::none) return;
  if (const auto executor = caf::actor_cast<caf::actor>(env_->executor)) {
    caf::anon_send(executor, device_lost_mail{});
  }
}

void executor_task::run_rank() {
  const auto rank = id.partition;
  log_scope scope(fmt::format(FMT_COMPILE("{} gang={} attempt={} rank={}"), to_string(id), to_string(ref.request),
                              to_string(ref.attempt), rank),
                  kept_log_lines);
  const auto give_up = [&](error why) {
    exec::task_failed failed{id, ref.request, ref.attempt, env_->boot, {}, {}};
    failed.why = {std::move(why), what.label,        rank, static_cast<std::int32_t>(rank), what.rank->gang_try,
                  env_->node,     scope.last_lines()};
    outcome_ = std::move(failed);
  };
  const bool came_before = met_.has_value();
  if (!came_before) come(now() + env_->join_timeout);
  if (!*met_) return give_up(std::move(met_->error()));
  const auto met = std::exchange(met_, std::nullopt);
  const auto& [group, how] = **met;
  const auto joined = [this, how = how, meets = group->medium()] {
    if (const auto executor = caf::actor_cast<caf::actor>(env_->executor)) {
      const scheduler::helper actors(env_->home.system());
      caf::anon_send(executor, rank_joined_mail{ref, how == comm::arrival::completing, meets});
    }
  };
  comm::start_limits limits{env_->join_timeout, env_->enter_timeout};
  if (how == comm::arrival::early) {
    // The last one tells for all. If it does not come soon, people want to know who is here.
    limits.slow = joined;
  } else if (!came_before) {
    joined();
  }
  if (auto ok = group->await_start(limits, abort); !ok) return give_up(std::move(ok.error()));
  perform(group.get());
}

void executor_task::finish(std::shared_ptr<slot_task> self, bool others_wait) {
  // Not kept here: the mail holds this.
  const auto actor = std::exchange(actor_, {});
  const auto env = env_;
  const auto where = ref;
  const auto returned = gate_ && returned_;
  // All ranks that may begin shall do so before anything else is done.
  std::optional<scheduler::helper> actors;
  if (!gate_ || !others_wait) actors.emplace(env->home.system());
  caf::anon_send(actor, outcome_mail{std::static_pointer_cast<executor_task>(std::move(self))});
  if (!returned) return;
  if (const auto executor = caf::actor_cast<caf::actor>(env->executor)) {
    caf::anon_send(executor, rank_returned_mail{where});
  }
}

}  // namespace hydrogen::actors
