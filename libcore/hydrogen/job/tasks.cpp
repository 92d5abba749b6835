// Parallel tasks: which goes where, what comes back, what is tried again.
#include <hydrogen/job/core.hpp>

#include <algorithm>
#include <utility>

namespace hydrogen::job {
namespace {

constexpr std::uint32_t last_attempt = (1u << 12) - 1;  // of data::block_id

bool is_interruption(errc code) {
  return code == errc::aborted || code == errc::cancelled || code == errc::disconnected;
}

}  // namespace

bool core::usable(const stage_record& s, const lease_record& l) const {
  const auto& host = processes_[l.process];
  if (l.state != lease_state::open || host.gone || now_ < host.suspect_until || now_ < l.blocked_until) return false;
  if (!excluded(l.node)) return true;
  return std::none_of(s.leases.begin(), s.leases.end(), [&](auto other) {
    return leases_[other].state == lease_state::open && !excluded(leases_[other].node);
  });
}

/// A task that failed goes to another node, or at least to another executor, while one of its stage's leases is there.
bool core::choosy_about(const stage_record& s, const partition_record& part, const lease_record& l) const {
  if (part.failures == 0) return false;
  const auto elsewhere = [&](auto&& differs) {
    return std::any_of(s.leases.begin(), s.leases.end(), [&](auto other) {
      const auto& o = leases_[other];
      return o.state == lease_state::open && !processes_[o.process].gone &&
             now_ >= processes_[o.process].suspect_until && differs(o);
    });
  };
  if (part.failed_node == l.node && elsewhere([&](const auto& o) { return o.node != l.node; })) return true;
  return part.failed_process == l.process && elsewhere([&](const auto& o) { return o.process != l.process; });
}

std::uint32_t core::pick(stage_record& s, const lease_record& l) {
  for (std::size_t i = 0; i < s.retries.size();) {
    const auto p = s.retries[i];
    const auto stale = s.parts[p].status != task_status::ready;
    if (!stale && choosy_about(s, s.parts[p], l)) {
      ++i;
      continue;
    }
    s.retries.erase(s.retries.begin() + static_cast<std::ptrdiff_t>(i));
    if (!stale) return p;
  }
  while (const auto p = s.queue.pop(l.process)) {
    const auto& part = s.parts[*p];
    if (part.status != task_status::ready) continue;
    if (!choosy_about(s, part, l)) return *p;
    s.retries.push_back(*p);
  }
  return no_index;
}

/// How many tasks are to wait per slot.
std::uint32_t core::window_of(const stage_record& s) const {
  const auto least = set_.opt.window;
  if (s.typical == duration::zero()) return least;
  const auto ahead = set_.opt.work_ahead / s.typical;
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(ahead, least, std::max(least, set_.opt.most_window)));
}

void core::pump(stage_record& s, lease_record& l) {
  if (s.ready == 0 || !usable(s, l)) return;
  const auto window = window_of(s);
  const auto room = std::size_t{l.slots} * (1 + window);
  // Short tasks are sent some at a time: half of what waits there must have begun.
  if (window > set_.opt.window && l.tasks.size() > room - std::size_t{l.slots} * (window / 2)) return;
  while (l.tasks.size() < room && s.ready > 0) {
    const auto p = pick(s, l);
    if (p == no_index || !send(s, p, l)) return;
  }
}

exec::task core::make_task(const stage_record& s, std::uint32_t partition, std::uint32_t attempt) const {
  exec::task t;
  t.id = {set_.run, set_.job, s.index, partition, attempt};
  t.label = s.label;
  t.chain = s.chain;
  if (!s.what.partition_arguments.empty()) t.partition_argument = s.what.partition_arguments[partition];
  t.inputs = inputs_of(s, partition);
  t.buckets = s.what.buckets;
  t.answer_with = s.answer_with;
  for (const auto& d : s.what.needs.each.devices) t.gpus += d.kind == "gpu" ? d.count : 0;
  if (s.is_gang()) {
    t.request = s.gang.id;
    t.attempt = s.gang.attempt;
    t.rank = exec::rank_part{readers(s), attempt, s.gang.fixed, s.what.barrier.call_timeout};
    t.storage_dir = set_.storage_dir;
  } else {
    const auto& l = leases_[s.parts[partition].lease];
    t.request = requests_[l.request].id;
    t.attempt = l.attempt;
  }
  return t;
}

/// False: nothing was sent and the job failed.
bool core::send(stage_record& s, std::uint32_t partition, lease_record& l) {
  auto& part = s.parts[partition];
  if (part.next_attempt > last_attempt) {
    fail_job({errc::over_limit, "partition " + std::to_string(partition) + " was tried 4096 times", s.label,
              "are its executors reachable from the driver?"});
    return false;
  }
  part.status = task_status::sent;
  --s.ready;
  ++s.sent;
  part.attempt = part.next_attempt++;
  part.lease = index_of(l);
  l.tasks.push_back({partition, part.attempt, now_ + set_.opt.task_repeat});
  out_->push_back(to_executor{processes_[l.process].ref, exec::run_task{make_task(s, partition, part.attempt)}});
  return true;
}

void core::requeue(stage_record& s, std::uint32_t partition) {
  s.parts[partition].attempt = no_index;  // results of it are late from now on
  set_waiting(s, partition);
  try_ready(s, partition);
  if (s.parts[partition].status == task_status::waiting) require_inputs(s, partition);
}

void core::take_back(stage_record& s, lease_record& l, std::size_t at, const char* why) {
  const auto task = l.tasks[at];
  l.tasks.erase(l.tasks.begin() + static_cast<std::ptrdiff_t>(at));
  out_->push_back(to_executor{processes_[l.process].ref,
                              exec::cancel_task{{set_.run, set_.job, s.index, task.partition, task.attempt}, why}});
  const auto& part = s.parts[task.partition];
  if (part.status == task_status::sent && part.attempt == task.attempt) requeue(s, task.partition);
}

/// Counts an interruption; false: it was the last one allowed, and the job failed.
bool core::interrupted(stage_record& s, std::uint32_t partition, const error& why) {
  auto& part = s.parts[partition];
  if (++part.interruptions <= set_.opt.max_interruptions) return true;
  task_failure cause;
  cause.cause = why;
  const auto node = leases_[part.lease].node;
  cause = describe(s, std::move(cause), partition, part.attempt, node);
  fail_job({errc::task_failed,
            "partition " + std::to_string(partition) + " was interrupted " + std::to_string(part.interruptions) +
                " times, last: " + why.what,
            s.label, "does it end its process, or use more memory than there is?"},
           std::move(cause));
  return false;
}

task_failure core::describe(const stage_record& s, task_failure why, std::uint32_t partition, std::uint32_t attempt,
                            std::uint32_t node) const {
  why.stage = s.label;
  why.partition = partition;
  why.rank = s.is_gang() ? static_cast<std::int32_t>(partition) : -1;
  why.attempt = attempt;
  if (why.host.empty() && node != no_index) why.host = nodes_[node].name;
  return why;
}

void core::forget_task(lease_record& l, std::uint32_t partition, std::uint32_t attempt) {
  std::erase_if(l.tasks, [&](const auto& t) { return t.partition == partition && t.attempt == attempt; });
}

bool core::current(const exec::task_id& id, const request_id& request, attempt_id attempt) const {
  if (id.run != set_.run || id.job != set_.job || id.stage >= stages_.size()) return false;
  const auto& s = stages_[id.stage];
  if (s.is_gang() || id.partition >= s.parts.size()) return false;
  const auto& part = s.parts[id.partition];
  if (part.status != task_status::sent || part.attempt != id.attempt) return false;
  const auto& l = leases_[part.lease];
  return l.attempt == attempt && requests_[l.request].id == request;
}

void core::got(boot_id, exec::task_refused& m) {
  if (m.id.run == set_.run && m.id.job == set_.job && m.id.stage < stages_.size() && stages_[m.id.stage].is_gang()) {
    return rank_refused(stages_[m.id.stage], m);
  }
  if (!current(m.id, m.request, m.attempt)) return;
  auto& l = leases_[stages_[m.id.stage].parts[m.id.partition].lease];
  if (l.refused_since == never) l.refused_since = now_;
  for (auto& task : l.tasks) {
    if (task.partition == m.id.partition) task.resend_at = std::min(task.resend_at, now_ + set_.opt.retry_interval);
  }
}

void core::got(boot_id executor, exec::task_done& m) {
  if (m.id.run != set_.run || m.id.job != set_.job || m.id.stage >= stages_.size()) return;
  auto& s = stages_[m.id.stage];
  if (m.id.partition >= s.parts.size()) return;
  if (s.is_gang()) return rank_done(s, m);
  auto& part = s.parts[m.id.partition];
  const auto fits = current(m.id, m.request, m.attempt);
  if (m.at.boot == boot_id{}) m.at.boot = executor;
  if (!fits || phase_ != phase::running) {
    // A repeat of what was accepted is nothing new; what another attempt made is not needed.
    if (part.attempt != m.id.attempt) drop(process_of(m.at, no_index), m.outputs);
    return;
  }
  auto& l = leases_[part.lease];
  const auto home = is_here(m.outputs)                            ? driver_process()
                    : m.at.boot == processes_[l.process].ref.boot ? l.process
                                                                  : process_of(m.at, l.node);
  forget_task(l, m.id.partition, m.id.attempt);
  l.refused_since = never;
  s.typical = s.typical == duration::zero() ? m.ran : (s.typical * 7 + m.ran) / 8;
  if (processes_[home].gone) {  // it finished, and its blocks died with it
    requeue(s, m.id.partition);
    return;
  }
  part.outputs = std::move(m.outputs);
  if (s.what.buckets > 1) {
    std::stable_sort(part.outputs.begin(), part.outputs.end(),
                     [](const auto& a, const auto& b) { return a.bucket < b.bucket; });
  }
  part.home = home;
  part.status = task_status::done;
  --s.sent;
  --s.absent;
  if (!part.outputs.empty()) processes_[home].held.push_back({s.index, m.id.partition});
  completed(s, m.id.partition);
  if (l.state == lease_state::open) pump(s, l);
  // The rest (stealing, giving back, asking for less) only matters when work runs out.
  if (s.ready == 0 || l.tasks.empty()) touch(s);
}

void core::got(boot_id executor, exec::task_failed& m) {
  if (m.id.run == set_.run && m.id.job == set_.job && m.id.stage < stages_.size() && stages_[m.id.stage].is_gang()) {
    return rank_failed(stages_[m.id.stage], m);
  }
  if (phase_ != phase::running || !current(m.id, m.request, m.attempt)) return;
  auto& s = stages_[m.id.stage];
  auto& part = s.parts[m.id.partition];
  auto& l = leases_[part.lease];
  forget_task(l, m.id.partition, m.id.attempt);
  touch(s);

  bool recoverable = !m.missing.empty();
  for (const auto& ref : m.missing) {
    recoverable = lose_block(ref, "it could not be fetched: " + m.why.cause.what) && recoverable;
    if (phase_ != phase::running) return;
  }
  if (recoverable || (m.missing.empty() && is_interruption(m.why.cause.code))) {
    if (!interrupted(s, m.id.partition, m.why.cause)) return;
    // Stopped from outside: the end of the lease is on its way, so nothing is sent there for a moment.
    if (m.missing.empty()) l.blocked_until = now_ + set_.opt.retry_interval;
    requeue(s, m.id.partition);
    if (recoverable) replan();
    return;
  }

  ++s.failures;
  ++part.failures;
  part.failed_node = l.node;
  part.failed_process = process_of({executor, {}}, l.node);
  node_failed(l.node);
  auto why = describe(s, std::move(m.why), m.id.partition, m.id.attempt, l.node);
  if (part.failures > set_.graph.task_retries) {
    fail_job({errc::task_failed,
              "partition " + std::to_string(m.id.partition) + " failed " + std::to_string(part.failures) +
                  (part.failures == 1 ? " time: " : " times, last: ") + why.cause.what,
              s.label + (why.host.empty() ? "" : " on " + why.host), why.cause.hint},
             why);
    return;
  }
  log(log_level::warning, s.label + ", partition " + std::to_string(m.id.partition) + " failed on " + why.host +
                              " and is tried again: " + why.cause.message());
  requeue(s, m.id.partition);
  replan();
}

void core::got(boot_id, exec::checkpointed& m) {
  if (m.id.run != set_.run || m.id.job != set_.job || m.id.stage >= stages_.size()) return;
  auto& s = stages_[m.id.stage];
  if (s.is_gang() && phase_ == phase::running && live(s, m.id, m.request, m.attempt)) rank_checkpointed(s, m);
}

}  // namespace hydrogen::job
