#include <hydrogen/actors/executor.hpp>
#include <hydrogen/actors/scratch_folder.hpp>
#include <hydrogen/actors/task.hpp>
#include <hydrogen/base/log.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <deque>

namespace hydrogen::actors {
namespace {

constexpr duration early_task_patience = 500ms;
constexpr std::size_t most_early_tasks = 256;  // per attempt
constexpr std::size_t most_over = 256;

struct attempt_entry {
  gang::accept_attempt what;
  slot_pool::lane_ptr lane;
  std::set<exec::task_id> seen;                  // a repeated task is not run twice
  std::shared_ptr<gang_gate> gate;               // gang only
  std::map<std::uint32_t, slot_task_ptr> ranks;  // tasks that came before start_joining
  std::set<std::uint32_t> pushed;
  std::uint32_t joined = 0;
  std::uint32_t returned = 0;
  bool stopping = false;
};

class executor_actor : public caf::event_based_actor {
 public:
  executor_actor(caf::actor_config& cfg, process& home, executor_options options,
                 std::shared_ptr<data::block_store> store)
      : event_based_actor(cfg),
        env_(std::make_shared<task_surroundings>(home, options.boot, options.node, std::move(store))),
        options_(std::move(options)),
        pool_(std::make_unique<slot_pool>(options_.slots)) {
    env_->join_timeout = options_.join_timeout;
    env_->enter_timeout = options_.enter_timeout;
  }

  caf::behavior make_behavior() override {
    env_->executor = caf::actor_cast<caf::actor_addr>(this);
    return {[this](const attempt_mail& mail) { std::visit([this](const auto& m) { on(m); }, mail.message); },
            [this](const task_mail& mail) { std::visit([&](const auto& m) { on(m, mail.reply); }, mail.message); },
            [this](const rank_joined_mail& mail) { on(mail); },
            [this](const rank_returned_mail& mail) { on(mail); },
            [this](const lane_idle_mail& mail) { on(mail); },
            [this](const early_tasks_late& mail) { on(mail); },
            [this](const wake_up&) { hung(); },
            [this](const stop_mail&) { stop(); }};
  }

  void on_exit() override {
    attempts_.clear();
    early_.clear();
    options_.to_agent = nullptr;
  }

 private:
  // ---- from the agent ----

  void on(const gang::accept_attempt& m) {
    if (attempts_.count(m.ref) != 0) return;  // repeated
    attempt_entry entry;
    entry.what = m;
    entry.lane = pool_->open(m.slots);
    if (m.kind == gang::request_kind::gang) entry.gate = std::make_shared<gang_gate>(m.ref);
    attempts_.emplace(m.ref, std::move(entry));
    if (auto early = early_.extract(m.ref)) {
      for (const auto& mail : early.mapped()) on(std::get<exec::run_task>(mail.message), mail.reply);
    }
  }

  void on(const gang::start_joining& m) {
    const auto at = attempts_.find(m.ref);
    if (at == attempts_.end() || !at->second.gate || at->second.stopping) return;
    auto& entry = at->second;
    if (!entry.gate->members.empty()) return;  // repeated
    for (const auto& where : m.members) {
      for (const auto rank : where.ranks) {
        entry.gate->members.push_back({rank, where.executor, where.endpoint, where.node});
      }
    }
    for (auto& [rank, task] : entry.ranks) push_rank(entry, rank, task);
  }

  void on(const gang::enter_ranks& m) {
    const auto at = attempts_.find(m.ref);
    if (at == attempts_.end() || !at->second.gate) return;
    at->second.gate->entered.store(1, std::memory_order_release);
    futex_wake_all(at->second.gate->entered);
  }

  void on(const gang::stop_attempt& m) {
    const auto at = attempts_.find(m.ref);
    if (at == attempts_.end()) {
      over_.push_back(m.ref);
      on(early_tasks_late{m.ref});
      report(gang::attempt_stopped{m.ref});
      return;
    }
    auto& entry = at->second;
    if (entry.stopping) return;  // the answer comes when the lane is idle
    entry.stopping = true;
    if (entry.gate) env_->home.gang_links().forget({m.ref.request, m.ref.attempt});
    const auto self = caf::actor_cast<caf::actor>(this);
    pool_->close(entry.lane, m.why, [self, ref = m.ref] { caf::anon_send(self, lane_idle_mail{ref}); });
  }

  void on(const early_tasks_late& mail) {
    const auto early = early_.extract(mail.ref);
    if (!early) return;
    for (const auto& task : early.mapped()) {
      const auto& what = std::get<exec::run_task>(task.message).what;
      task.reply(exec::task_refused{what.id, what.request, what.attempt, "the executor does not hold this attempt"});
    }
  }

  void on(const lane_idle_mail& mail) {
    attempts_.erase(mail.ref);
    over_.push_back(mail.ref);
    if (over_.size() > most_over) over_.pop_front();
    report(gang::attempt_stopped{mail.ref});
    if (ending_ && attempts_.empty()) finish();
  }

  // ---- from a job ----

  void on(const exec::run_task& m, const task_reply& reply) {
    const gang::attempt_ref ref{m.what.request, m.what.attempt};
    const auto at = attempts_.find(ref);
    if (at == attempts_.end() && m.what.request.run == options_.app.run && !is_over(ref) && !ending_) {
      // The lease is on its way through the agent, the task came straight from the job.
      auto& early = early_[ref];
      if (early.empty()) delayed_send(this, early_task_patience, early_tasks_late{ref});
      if (early.size() < most_early_tasks) {
        early.push_back({m, reply});
        return;
      }
    }
    if (at == attempts_.end() || at->second.stopping || m.what.request.run != options_.app.run) {
      reply(exec::task_refused{m.what.id, m.what.request, m.what.attempt, "the executor does not hold this attempt"});
      return;
    }
    auto& entry = at->second;
    if (!entry.seen.insert(m.what.id).second) return;  // repeated
    if (entry.gate && entry.ranks.count(m.what.id.partition) != 0) return;
    auto task = std::make_shared<slot_task>();
    task->what = m.what;
    if (task->what.storage_dir.empty()) task->what.storage_dir = options_.storage_dir;
    const auto actor = system().spawn<task_actor, caf::lazy_init>(reply, m.what.id);
    task->run = entry.gate ? rank_body(env_, entry.gate, actor, reply) : task_body(env_, actor, reply);
    if (entry.gate) {
      entry.ranks.emplace(m.what.id.partition, task);
      if (!entry.gate->members.empty()) push_rank(entry, m.what.id.partition, task);
    } else {
      pool_->push(entry.lane, std::move(task));
    }
  }

  void on(const exec::cancel_task& m, const task_reply&) {
    for (auto& [ref, mails] : early_) {
      if (std::erase_if(mails,
                        [&](const task_mail& e) { return std::get<exec::run_task>(e.message).what.id == m.id; }) != 0)
        return;
    }
    for (auto& [ref, entry] : attempts_) {
      if (ref.request.run != m.id.run || ref.request.job != m.id.job || ref.request.stage != m.id.stage) continue;
      if (pool_->withdraw(entry.lane, m.id)) {
        entry.seen.erase(m.id);
        return;
      }
      if (pool_->abort_task(entry.lane, m.id, {errc::cancelled, m.why, {}, {}})) return;
    }
  }

  void on(const exec::drop_blocks& m, const task_reply&) {
    for (const auto& id : m.blocks) env_->store->drop(id);
  }

  // ---- from slot threads ----

  void push_rank(attempt_entry& entry, std::uint32_t rank, const slot_task_ptr& task) {
    if (entry.pushed.insert(rank).second) pool_->push(entry.lane, task);
  }

  void on(const rank_joined_mail& mail) {
    const auto at = attempts_.find(mail.ref);
    if (at == attempts_.end() || at->second.stopping) return;
    if (++at->second.joined == at->second.what.ranks.size()) report(gang::ranks_joined{mail.ref});
  }

  void on(const rank_returned_mail& mail) {
    const auto at = attempts_.find(mail.ref);
    if (at == attempts_.end() || at->second.stopping) return;
    if (++at->second.returned == at->second.what.ranks.size()) report(gang::ranks_returned{mail.ref});
  }

  // ---- the end ----

  void stop() {
    if (std::exchange(ending_, true)) return;
    const error why{errc::aborted, "the executor ends", {}, {}};
    auto refs = std::vector<gang::attempt_ref>();
    for (const auto& [ref, entry] : attempts_) refs.push_back(ref);
    for (const auto& ref : refs) on(gang::stop_attempt{ref, why});
    if (attempts_.empty()) return finish();
    if (options_.hang_limit > duration::zero()) delayed_send(this, options_.hang_limit, wake_up{});
  }

  /// A thread cannot be ended, so the process is.
  void hung() {
    std::string who;
    for (const auto& [ref, entry] : attempts_) {
      for (const auto& task : pool_->running(entry.lane)) who += (who.empty() ? "" : ", ") + task;
    }
    std::fflush(stdout);
    std::fprintf(
        stderr,
        "hydrogen: %s: user code was told to stop %lld s ago and does not return; a thread cannot be ended, so this "
        "process is (look at stop_requested(), or run on node processes)\n",
        who.c_str(), static_cast<long long>(options_.hang_limit / 1s));
    remove_scratch_folders();
    _exit(1);
  }

  void finish() {
    env_->home.remove_executor(options_.boot);
    env_->home.remove_store(options_.boot);
    pool_.reset();
    quit();
  }

  bool is_over(const gang::attempt_ref& ref) const { return std::find(over_.begin(), over_.end(), ref) != over_.end(); }

  void report(gang::from_executor message) {
    if (options_.to_agent) options_.to_agent(message);
  }

  std::shared_ptr<task_surroundings> env_;
  executor_options options_;
  std::unique_ptr<slot_pool> pool_;
  std::map<gang::attempt_ref, attempt_entry> attempts_;
  // Tasks whose attempt has not been announced yet; and attempts that are over, the last ones.
  std::map<gang::attempt_ref, std::vector<task_mail>> early_;
  std::deque<gang::attempt_ref> over_;
  bool ending_ = false;
};

}  // namespace

caf::actor spawn_executor(process& home, executor_options options) {
  auto store = std::make_shared<data::block_store>(options.block_budget);
  const auto boot = options.boot;
  auto actor = home.system().spawn<executor_actor>(std::ref(home), std::move(options), store);
  home.add_store(boot, std::move(store));
  home.add_executor(boot, actor);
  return actor;
}

}  // namespace hydrogen::actors
