// What is required, when its inputs are there, what is lost and so computed again.
#include <hydrogen/job/core.hpp>

#include <algorithm>
#include <utility>

namespace hydrogen::job {
namespace {

/// The consumer partition that reads producer partition p by input_kind::range: the ranges cut [0, producers) into
/// consecutive pieces, so there is exactly one.
std::uint32_t reader_of(std::uint32_t p, std::uint32_t consumers, std::uint32_t producers) {
  return static_cast<std::uint32_t>(((std::uint64_t{p} + 1) * consumers - 1) / producers);
}

/// The outputs that carry `bucket`; they are sorted by it.
std::pair<std::size_t, std::size_t> bucket_range(const std::vector<data::block_info>& outputs, std::uint32_t bucket) {
  data::block_info key;
  key.bucket = bucket;
  const auto [first, last] = std::equal_range(outputs.begin(), outputs.end(), key,
                                              [](const auto& a, const auto& b) { return a.bucket < b.bucket; });
  return {first - outputs.begin(), last - outputs.begin()};
}

}  // namespace

/// What is read by the driver anyway, or by few, comes with the answer when it is small, so that nobody has to fetch it
/// and it is never lost. Bounded by what a message to one of its readers may carry, and by the driver's memory.
std::uint32_t core::answer_with(const stage_record& s) const {
  constexpr std::uint64_t most = 16 * 1024, least = 64;
  constexpr std::uint64_t in_one_task = 256 * 1024, in_all_tasks = 8 << 20, in_all_results = 64 << 20;
  const std::uint64_t partitions = s.parts.size();
  if (s.what.buckets > 1 || partitions == 0) return 0;
  auto limit = most;
  if (s.index + 1 == stages_.size()) limit = std::min(limit, in_all_results / partitions);
  const auto bound = [&](std::uint64_t readers, std::uint64_t read) {
    limit = std::min({limit, in_one_task / read, in_all_tasks / (readers * read)});
  };
  if (s.what.keep_as != 0) bound(partitions, partitions);  // each task of later jobs may read all of it
  for (const auto& c : s.consumers) {
    const auto readers = std::max<std::uint64_t>(1, stages_[c.stage].parts.size());
    const auto read = c.kind == plan::input_kind::range ? (partitions + readers - 1) / readers : partitions;
    bound(readers, read);
  }
  return static_cast<std::uint32_t>(limit < least ? 0 : limit);
}

/// True: the outputs came with the answer.
bool core::is_here(const std::vector<data::block_info>& outputs) {
  return !outputs.empty() && std::all_of(outputs.begin(), outputs.end(), [](const auto& b) { return b.here; });
}

bool core::inputs_ready(const stage_record& s, std::uint32_t partition) const {
  for (const auto& input : s.what.inputs) {
    const auto& producer = stages_[input.producer];
    if (producer.absent == 0) continue;
    if (input.kind != plan::input_kind::range) return false;
    const auto range = plan::range_of(partition, static_cast<std::uint32_t>(s.parts.size()),
                                      static_cast<std::uint32_t>(producer.parts.size()));
    for (auto j = range.first; j < range.last; ++j) {
      if (producer.parts[j].status != task_status::done) return false;
    }
  }
  return true;
}

void core::set_waiting(stage_record& s, std::uint32_t partition) {
  auto& status = s.parts[partition].status;
  if (status == task_status::ready) --s.ready;
  if (status == task_status::sent) --s.sent;
  if (status != task_status::waiting) ++s.waiting;
  status = task_status::waiting;
}

void core::require(stage_record& s, std::uint32_t partition) {
  if (s.parts[partition].status != task_status::idle) return;
  if (s.is_gang()) {  // all ranks or none
    for (std::uint32_t r = 0; r < s.parts.size(); ++r) {
      if (s.parts[r].status == task_status::idle) set_waiting(s, r);
    }
    for (const auto& input : s.what.inputs) require_all(stages_[input.producer]);
    touch(s);
    return;
  }
  set_waiting(s, partition);
  require_inputs(s, partition);
  try_ready(s, partition);
}

void core::require_all(stage_record& s) {
  if (s.all_required) return;
  s.all_required = true;
  for (std::uint32_t p = 0; p < s.parts.size(); ++p) require(s, p);
}

void core::require_inputs(stage_record& s, std::uint32_t partition) {
  each_input(s, partition, [&](std::size_t, const plan::stage_input& input, const stage_record& producer, auto range) {
    if (producer.absent == 0) return;
    if (s.is_gang() || input.kind != plan::input_kind::range) return require_all(stages_[input.producer]);
    for (auto j = range.first; j < range.last; ++j) require(stages_[input.producer], j);
  });
}

void core::try_ready(stage_record& s, std::uint32_t partition) {
  auto& part = s.parts[partition];
  if (part.status != task_status::waiting || !inputs_ready(s, partition)) return;
  part.status = task_status::ready;
  --s.waiting;
  ++s.ready;
  if (part.failures > 0) {
    s.retries.push_back(partition);
  } else {
    s.queue.push(partition, home_of_inputs(s, partition));
  }
  touch(s);
}

void core::completed(stage_record& s, std::uint32_t partition) {
  for (const auto& c : s.consumers) {
    auto& consumer = stages_[c.stage];
    if (consumer.waiting == 0) continue;
    if (consumer.is_gang()) {
      if (s.absent == 0) touch(consumer);
    } else if (c.kind == plan::input_kind::range) {
      try_ready(consumer, reader_of(partition, static_cast<std::uint32_t>(consumer.parts.size()),
                                    static_cast<std::uint32_t>(s.parts.size())));
    } else if (s.absent == 0) {
      for (std::uint32_t i = 0; i < consumer.parts.size(); ++i) try_ready(consumer, i);
    }
  }
  if (s.index + 1 == stages_.size()) emit(partition);
}

void core::lose(stage_record& s, std::uint32_t partition, const std::string& why) {
  auto& part = s.parts[partition];
  if (part.status != task_status::done) return;
  if (s.is_gang()) return lose_gang(s, why);
  part.status = task_status::idle;
  ++s.absent;
  s.all_required = false;
  drop(part.home, part.outputs);
  // What was there stays written down: a task that is repeated names it, and an executor that has not got the task yet
  // says that it is missing.
  if (s.index + 1 == stages_.size() && results_[partition] == result_state::emitted) {
    results_[partition] = result_state::unseen;
  }
  if (++part.recomputes > set_.opt.max_recomputes) {
    fail_job({errc::disconnected,
              "the output of partition " + std::to_string(partition) + " was lost " + std::to_string(part.recomputes) +
                  " times, last because " + why,
              s.label, "does a task that computes or reads it end its process?"});
  }
}

/// True: a block of this job or of a kept output, so it can be had again.
bool core::lose_block(const data::block_ref& ref, const std::string& why) {
  const auto& id = ref.info.id;
  if (id.is_content()) return false;
  const auto holds = [&](const partition_record& part) {
    return part.status == task_status::done && part.home != no_index && processes_[part.home].ref.boot == ref.at.boot &&
           std::any_of(part.outputs.begin(), part.outputs.end(), [&](const auto& b) { return b.id == id; });
  };
  if (id.run == set_.run && id.job == set_.job) {
    if (id.stage >= stages_.size() || id.partition >= stages_[id.stage].parts.size()) return false;
    auto& s = stages_[id.stage];
    if (holds(s.parts[id.partition])) lose(s, id.partition, why);
    return true;
  }
  for (auto& s : stages_) {  // a kept output: made by another job, perhaps as another stage
    if (s.what.keep_as == 0) continue;
    for (std::uint32_t p = 0; p < s.parts.size(); ++p) {
      if (!holds(s.parts[p])) continue;
      lose(s, p, why);
      return true;
    }
  }
  return id.run == set_.run;  // known no more: lost and found again since the task was sent
}

/// After losses: whatever is still wanted makes its missing inputs required again.
void core::replan() {
  if (phase_ != phase::running) return;
  auto& last = stages_.back();
  for (std::uint32_t p = 0; p < last.parts.size(); ++p) {
    if (results_[p] != result_state::consumed) require(last, p);
  }
  for (auto at = stages_.rbegin(); at != stages_.rend(); ++at) {
    auto& s = *at;
    touch(s);
    if (s.is_gang()) {
      if (s.waiting == 0 && !s.gang.failing) continue;  // ranks that run have their inputs, or say what is missing
      for (const auto& input : s.what.inputs) {
        if (stages_[input.producer].absent != 0) require_all(stages_[input.producer]);
      }
      continue;
    }
    if (s.waiting + s.ready == 0) continue;
    for (std::uint32_t p = 0; p < s.parts.size(); ++p) {
      const auto status = s.parts[p].status;
      if (status != task_status::waiting && status != task_status::ready) continue;
      if (inputs_ready(s, p)) continue;
      set_waiting(s, p);  // its entry in the queue is stale from now on
      require_inputs(s, p);
    }
  }
}

std::uint32_t core::home_of_inputs(const stage_record& s, std::uint32_t partition) {
  if (s.what.inputs.empty()) return task_queue::anywhere;
  weight_.assign(processes_.size(), 0);
  each_input(s, partition, [&](std::size_t, const plan::stage_input& input, const stage_record& producer, auto range) {
    if (input.kind == plan::input_kind::all) return;  // the same for every task
    for (auto j = range.first; j < range.last; ++j) {
      const auto& part = producer.parts[j];
      auto pieces = std::pair<std::size_t, std::size_t>{0, part.outputs.size()};
      if (input.kind == plan::input_kind::bucket) pieces = bucket_range(part.outputs, partition);
      for (auto b = pieces.first; b < pieces.second; ++b) weight_[part.home] += part.outputs[b].bytes;
    }
  });
  const auto most = std::max_element(weight_.begin(), weight_.end());
  if (most == weight_.end() || *most == 0) return task_queue::anywhere;
  const auto process = static_cast<std::uint32_t>(most - weight_.begin());
  const auto& home = processes_[process];
  return home.gone || home.ref.boot == set_.app.driver ? task_queue::anywhere : process;
}

std::vector<std::vector<data::block_ref>> core::inputs_of(const stage_record& s, std::uint32_t partition) const {
  std::vector<std::vector<data::block_ref>> inputs(s.what.inputs.size());
  each_input(s, partition,
             [&](std::size_t k, const plan::stage_input& input, const stage_record& producer, auto range) {
               for (auto j = range.first; j < range.last; ++j) {
                 const auto& part = producer.parts[j];
                 auto pieces = std::pair<std::size_t, std::size_t>{0, part.outputs.size()};
                 if (input.kind == plan::input_kind::bucket) pieces = bucket_range(part.outputs, partition);
                 for (auto b = pieces.first; b < pieces.second; ++b) {
                   inputs[k].push_back({part.outputs[b], processes_[part.home].ref});
                 }
               }
             });
  return inputs;
}

std::uint32_t core::process_of(const data::process_ref& ref, std::uint32_t node) {
  const auto [at, fresh] = process_by_boot_.try_emplace(ref.boot.value, static_cast<std::uint32_t>(processes_.size()));
  if (fresh) processes_.push_back({.ref = ref, .node = node, .end = {}, .held = {}});
  auto& known = processes_[at->second];
  if (known.ref.endpoint.empty()) known.ref.endpoint = ref.endpoint;
  if (known.node == no_index) known.node = node;
  return at->second;
}

std::uint32_t core::driver_process() {
  return process_of({set_.app.driver, set_.app.endpoint}, no_index);
}

std::uint32_t core::node_of(const std::string& name) {
  for (std::uint32_t n = 0; n < nodes_.size(); ++n) {
    if (nodes_[n].name == name) return n;
  }
  nodes_.push_back({.name = name});
  return static_cast<std::uint32_t>(nodes_.size() - 1);
}

void core::executor_lost(std::uint32_t process, const std::string& why) {
  if (std::exchange(processes_[process].gone, true)) return;
  processes_[process].end = why;
  for (const auto l : std::vector(active_leases_)) {
    if (leases_[l].process == process) end_lease(leases_[l], gang::end_cause::lost);
    if (phase_ != phase::running) return;
  }
  // Results that were on their way are lost with it; if its ranks had returned, the coordinator need not tell.
  for (auto& s : stages_) {
    const auto& ranks = s.gang.ranks;
    const auto at =
        std::find_if(ranks.begin(), ranks.end(), [process](const auto& r) { return r.process == process && !r.done; });
    if (at != ranks.end()) {
      fail_attempt(s, "the executor of rank " + std::to_string(at - ranks.begin()) + " is gone", false);
    }
  }
  const auto held = std::exchange(processes_[process].held, {});
  for (const auto& at : held) {
    if (phase_ != phase::running) return;
    auto& s = stages_[at.stage];
    if (s.parts[at.partition].home == process) lose(s, at.partition, why);
  }
  replan();
}

void core::node_failed(std::uint32_t node) {
  if (node == no_index) return;
  auto& n = nodes_[node];
  if (now_ - n.counted_from > set_.opt.exclude_for) n.failures = 0, n.counted_from = now_;
  if (++n.failures < set_.opt.exclude_after || excluded(node)) return;
  n.excluded_until = now_ + set_.opt.exclude_for;
  n.failures = 0;
  log(log_level::warning,
      "node " + n.name + " is avoided for a time: " + std::to_string(set_.opt.exclude_after) + " tasks failed there");
}

std::vector<std::string> core::nodes_to_avoid() const {
  std::vector<std::string> names;
  for (std::uint32_t n = 0; n < nodes_.size(); ++n) {
    if (excluded(n)) names.push_back(nodes_[n].name);
  }
  return names;
}

void core::drop(std::uint32_t process, const std::vector<data::block_info>& blocks) {
  if (process == no_index || blocks.empty() || processes_[process].gone) return;
  std::vector<data::block_id> ids;
  ids.reserve(blocks.size());
  for (const auto& b : blocks) {
    if (!b.here) ids.push_back(b.id);
  }
  if (ids.empty()) return;
  if (processes_[process].ref.boot == set_.app.driver) {
    out_->push_back(drop_copies{std::move(ids)});
  } else {
    out_->push_back(to_executor{processes_[process].ref, exec::drop_blocks{std::move(ids)}});
  }
}

}  // namespace hydrogen::job
