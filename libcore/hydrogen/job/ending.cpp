// Results to the sink, the end of the job, and what is dropped then.
#include <hydrogen/job/core.hpp>

#include <algorithm>
#include <utility>

namespace hydrogen::job {

/// A result partition is there: out with it, and with those after it that waited for their turn.
void core::emit(std::uint32_t partition) {
  if (phase_ != phase::running) return;
  const auto give = [&](std::uint32_t p) {
    if (results_[p] != result_state::unseen) return;
    results_[p] = result_state::emitted;
    const auto& part = stages_.back().parts[p];
    result_ready ready{p, {}};
    for (const auto& b : part.outputs) ready.refs.push_back({b, processes_[part.home].ref});
    out_->push_back(std::move(ready));
  };
  if (partition < next_result_) return give(partition);
  const auto& parts = stages_.back().parts;
  while (next_result_ < parts.size() && parts[next_result_].status == task_status::done) give(next_result_++);
}

void core::handle(result_consumed& m) {
  if (phase_ != phase::running || m.partition >= results_.size()) return;
  if (std::exchange(results_[m.partition], result_state::consumed) == result_state::consumed) return;
  auto& last = stages_.back();
  if (auto& outputs = last.parts[m.partition].outputs; last.what.keep_as == 0 && is_here(outputs)) outputs.clear();
  if (++consumed_ == results_.size()) finish();
}

std::vector<kept_output> core::kept_outputs() {
  std::vector<kept_output> all;
  for (const auto& s : stages_) {
    if (s.what.keep_as == 0 || s.absent != 0) continue;
    kept_output kept{s.what.keep_as, {}, s.gang.width};
    kept.partitions.resize(s.parts.size());
    for (std::size_t p = 0; p < s.parts.size(); ++p) {
      for (const auto& b : s.parts[p].outputs) kept.partitions[p].push_back({b, processes_[s.parts[p].home].ref});
    }
    all.push_back(std::move(kept));
  }
  return all;
}

void core::fail_job(error why, std::optional<task_failure> cause) {
  if (phase_ != phase::running) return;
  const auto text = why.what;
  out_->push_back(failed{std::move(why), std::move(cause), kept_outputs()});
  shut_down("the job failed: " + text);
}

void core::finish() {
  if (phase_ != phase::running) return;
  out_->push_back(finished{kept_outputs()});
  shut_down("the job is done");
}

/// Everything that runs is cancelled, every request ended; `tick_confirming` sees it through.
void core::shut_down(const std::string& why) {
  phase_ = phase::confirming;
  confirm_until_ = now_ + set_.opt.confirm_limit;
  wake_at(confirm_until_);
  for (const auto index : active_leases_) {
    auto& l = leases_[index];
    for (const auto& task : std::exchange(l.tasks, {})) {
      auto& part = stages_[l.stage].parts[task.partition];
      if (part.status != task_status::sent || part.attempt != task.attempt) continue;
      part.attempt = no_index;  // what still comes of it is dropped
      if (processes_[l.process].gone) continue;
      out_->push_back(to_executor{processes_[l.process].ref,
                                  exec::cancel_task{{set_.run, set_.job, l.stage, task.partition, task.attempt}, why}});
    }
  }
  for (auto& r : requests_) close_request(r);
  for (auto& s : stages_) {
    // No task is made any more: large arguments are not kept until the last confirmation.
    s.chain = {};
    s.what.partition_arguments.clear();
    if (!s.is_gang() || !s.gang.open) continue;
    reset_attempt(s);
    for (auto& part : s.parts) part.attempt = no_index;
    s.gang.decision.reset();
    s.gang.attempt = {};
    s.gang.closing = true;
    s.gang.sent_at = now_;
    say(gang::cancel{s.gang.id});
  }
  drop_outputs();
}

void core::drop_outputs() {
  std::vector<std::vector<data::block_info>> by_process(processes_.size());
  for (const auto& s : stages_) {
    if (s.what.keep_as != 0 && s.absent == 0) continue;
    for (const auto& part : s.parts) {
      if (part.status != task_status::done) continue;
      for (const auto& b : part.outputs) {
        // Those of an earlier job belong to whoever keeps them.
        if (b.id.run == set_.run && b.id.job == set_.job) by_process[part.home].push_back(b);
      }
    }
  }
  for (std::uint32_t p = 0; p < by_process.size(); ++p) drop(p, by_process[p]);
}

void core::tick_confirming() {
  const auto open =
      std::any_of(requests_.begin(), requests_.end(), [](const auto& r) { return r.state != request_state::closed; }) ||
      std::any_of(stages_.begin(), stages_.end(), [](const auto& s) { return s.gang.open; }) || !releases_.empty();
  if (!open) {
    phase_ = phase::over;
  } else if (now_ >= confirm_until_) {
    log(log_level::warning, set_.graph.label + ": the coordinator did not confirm in time that all slots are free");
    phase_ = phase::over;
  }
}

}  // namespace hydrogen::job
