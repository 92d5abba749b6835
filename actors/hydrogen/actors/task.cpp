#include <hydrogen/actors/scheduler.hpp>
#include <hydrogen/actors/task.hpp>
#include <hydrogen/base/log.hpp>
#include <hydrogen/exec/perform_task.hpp>

#include <spdlog/fmt/fmt.h>

namespace hydrogen::actors {

task_actor::task_actor(caf::actor_config& cfg, task_reply reply, exec::task_id id)
    : event_based_actor(cfg), reply_(std::move(reply)), id_(id) {}

caf::behavior task_actor::make_behavior() {
  return {[this](const outcome_mail& mail) {
    reply_(std::move(*mail.outcome));
    quit();
  }};
}

namespace {

constexpr std::size_t kept_log_lines = 20;

exec::task_environment environment_of(const std::shared_ptr<task_surroundings>& env, slot_task& task,
                                      const task_reply& reply, comm::group* gang) {
  return exec::task_environment{
      .store = *env->store,
      .fetch =
          [env, &task](std::span<const data::block_ref> refs) {
            return env->home.fetch(refs, task.abort, env->store.get(), nullptr);
          },
      .gang = gang,
      .abort = task.abort,
      .report_checkpoint = [&reply](const exec::checkpointed& piece) -> expected<void> {
        reply(piece);
        return {};
      },
      .self = {env->boot, env->home.endpoint()},
      .host = env->node,
  };
}

void tell(const caf::actor& to, exec::from_task_host outcome) {
  caf::anon_send(to, outcome_mail{std::make_shared<exec::from_task_host>(std::move(outcome))});
}

exec::from_task_host outcome_of(std::variant<exec::task_done, exec::task_failed>&& result) {
  return std::visit([](auto&& x) { return exec::from_task_host(std::move(x)); }, std::move(result));
}

}  // namespace

std::function<void(slot_task&)> task_body(std::shared_ptr<task_surroundings> env, caf::actor actor, task_reply reply) {
  return [env = std::move(env), actor = std::move(actor), reply = std::move(reply)](slot_task& task) {
    log_scope scope(to_string(task.what.id), kept_log_lines);
    auto surroundings = environment_of(env, task, reply, nullptr);
    auto result = exec::perform_task(task.what, surroundings);
    const scheduler::helper actors(env->home.system());
    tell(actor, outcome_of(std::move(result)));
  };
}

std::function<void(slot_task&)> rank_body(std::shared_ptr<task_surroundings> env, std::shared_ptr<gang_gate> gate,
                                          caf::actor actor, task_reply reply) {
  return [env = std::move(env), gate = std::move(gate), actor = std::move(actor),
          reply = std::move(reply)](slot_task& task) {
    const auto& what = task.what;
    const auto rank = what.id.partition;
    log_scope scope(fmt::format("{} gang={} attempt={} rank={}", to_string(what.id), to_string(gate->ref.request),
                                to_string(gate->ref.attempt), rank),
                    kept_log_lines);
    const auto give_up = [&](error why) {
      exec::task_failed failed{what.id, what.request, what.attempt, env->boot, {}, {}};
      failed.why = {std::move(why), what.label,        rank, static_cast<std::int32_t>(rank), what.rank->gang_try,
                    env->node,      scope.last_lines()};
      tell(actor, std::move(failed));
    };
    auto group = env->home.gang_links().join({gate->ref.request, gate->ref.attempt}, rank, gate->members, task.abort,
                                             now() + env->join_timeout);
    if (!group) return give_up(std::move(group.error()));
    const auto executor = caf::actor_cast<caf::actor>(env->executor);
    if (!executor) return give_up({errc::aborted, "the executor is gone", {}, {}});
    {
      const scheduler::helper actors(env->home.system());
      caf::anon_send(executor, rank_joined_mail{gate->ref});
    }

    // The rank sleeps on `entered`; an abort wakes it through the same word.
    const auto deadline = now() + env->enter_timeout;
    const auto wake = task.abort.on_abort([&gate] { futex_wake_all(gate->entered); });
    for (;;) {
      const auto seen = gate->entered.load(std::memory_order_acquire);
      if (seen != 0) break;
      if (task.abort.is_set()) return give_up(task.abort.reason());
      if (now() >= deadline)
        return give_up({errc::timed_out, "all ranks joined, and no enter came from the coordinator", {}, {}});
      futex_wait(gate->entered, seen, std::min(deadline, now() + 100ms));
    }
    auto surroundings = environment_of(env, task, reply, group->get());
    auto result = exec::perform_task(what, surroundings);
    const scheduler::helper actors(env->home.system());
    if (auto* failed = std::get_if<exec::task_failed>(&result)) {
      tell(actor, std::move(*failed));
      return;
    }
    tell(actor, outcome_of(std::move(result)));
    caf::anon_send(executor, rank_returned_mail{gate->ref});
  };
}

}  // namespace hydrogen::actors
