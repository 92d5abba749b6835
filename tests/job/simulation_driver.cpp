// The driver: job machines, their connection to the coordinator, copies, results.
#include "simulation.hpp"

#include <algorithm>

namespace hydrogen::job::test {

std::uint64_t content_of(std::uint32_t job, std::uint32_t stage, std::uint32_t partition, std::uint32_t index,
                         const std::vector<std::vector<std::uint64_t>>& inputs) {
  auto h = hash_mix(hash_mix(job + 1, stage), std::uint64_t{partition} << 32 | index);
  for (const auto& input : inputs) {
    h = hash_mix(h, input.size());
    for (const auto x : input) h = hash_mix(h, x);
  }
  return h;
}

std::vector<std::uint32_t> buckets_of(std::uint32_t job, std::uint32_t stage, std::uint32_t partition,
                                      std::uint32_t buckets) {
  std::vector<std::uint32_t> all;
  const auto count = hash_mix(hash_mix(job + 77, stage), partition) % (2 * buckets + 1);
  for (std::uint32_t i = 0; i < count; ++i) {
    all.push_back(static_cast<std::uint32_t>(hash_mix(partition + 5, std::uint64_t{stage} << 32 | i) % buckets));
  }
  return all;
}

plan::job_graph simulation::random_graph(job_state& job) {
  plan::job_graph g;
  g.label = "job";
  g.task_retries = 3;
  std::uint32_t slots = 0;
  for (const auto& n : nodes_) slots += n.slots;
  const auto count = 1 + random_.below(5);
  for (std::uint32_t i = 0; i < count; ++i) {
    plan::stage s;
    s.label = std::to_string(i);
    s.partitions = static_cast<std::uint32_t>(1 + random_.below(random_.chance(0.2) ? 40 : 8));
    if (random_.chance(0.35)) {
      s.kind = plan::stage_kind::barrier;
      s.partitions = static_cast<std::uint32_t>(1 + random_.below(slots));
      s.barrier.ranks = s.partitions;
      s.barrier.retries = 1000;
      s.barrier.least_ranks = random_.chance(0.5) ? static_cast<std::uint32_t>(1 + random_.below(s.partitions)) : 0;
      s.keep_as = random_.chance(0.5) ? i + 1 : 0;
    }
    const auto inputs = i == 0 ? 0 : random_.below(3);
    for (std::uint64_t k = 0; k < inputs; ++k) {
      plan::stage_input input;
      input.producer = static_cast<std::uint32_t>(random_.below(i));
      auto& producer = g.stages[input.producer];
      input.kind = static_cast<plan::input_kind>(random_.below(3));
      const auto elastic = s.kind == plan::stage_kind::barrier && s.least_ranks() < s.partitions;
      if (elastic && input.kind == plan::input_kind::bucket) input.kind = plan::input_kind::range;
      if (producer.buckets > 1 && producer.buckets != s.partitions) input.kind = plan::input_kind::all;
      if (input.kind == plan::input_kind::bucket) producer.buckets = s.partitions;
      s.inputs.push_back(input);
    }
    g.stages.push_back(std::move(s));
  }
  job.steps = 5 + random_.below(40);
  job.every = 1 + random_.below(10);
  job.kinds = random_.below(3);
  return g;
}

const std::vector<std::vector<std::vector<std::pair<std::uint32_t, std::uint64_t>>>>& simulation::expected(
    std::uint32_t j) {
  auto& job = jobs_[j];
  if (!job.expected.empty()) return job.expected;
  for (std::uint32_t i = 0; i < job.graph.stages.size(); ++i) {
    const auto& s = job.graph.stages[i];
    const auto last = job.width.find(i);
    const auto readers = last == job.width.end() ? s.partitions : last->second;
    auto& stage = job.expected.emplace_back();
    stage.resize(s.partitions);
    for (std::uint32_t p = 0; p < readers; ++p) {
      std::vector<std::vector<std::uint64_t>> inputs;
      for (const auto& input : s.inputs) {
        auto& values = inputs.emplace_back();
        const auto& producer = job.expected[input.producer];
        const auto width = static_cast<std::uint32_t>(producer.size());
        auto range = plan::partition_range{0, width};
        if (input.kind == plan::input_kind::range) range = plan::range_of(p, readers, width);
        for (auto q = range.first; q < range.last; ++q) {
          for (const auto& [bucket, value] : producer[q]) {
            if (input.kind != plan::input_kind::bucket || bucket == p) values.push_back(value);
          }
        }
      }
      if (s.kind == plan::stage_kind::barrier) inputs.push_back({readers});
      auto& blocks = stage[p];
      const auto buckets = buckets_of(j, i, p, s.buckets);
      for (std::uint32_t b = 0; b < buckets.size(); ++b) blocks.push_back({buckets[b], content_of(j, i, p, b, inputs)});
      std::stable_sort(blocks.begin(), blocks.end(), [](const auto& x, const auto& y) { return x.first < y.first; });
    }
  }
  return job.expected;
}

std::optional<exec::restore_point> simulation::to_restore(const job_state& job, const request_id& gang,
                                                          std::uint32_t ranks) {
  const auto last = job.checkpointed.find(gang);
  if (last == job.checkpointed.end()) return std::nullopt;
  if (last->second.replicated || last->second.pieces.size() == ranks) return last->second;
  const auto replicated = job.replicated.find(gang);
  return replicated == job.replicated.end() ? std::nullopt : std::optional(replicated->second);
}

/// A rank is sent, perhaps again.
void simulation::placed(job_state& job, const exec::task& rank) {
  const auto& s = job.graph.stages[rank.id.stage];
  const auto ranks = rank.rank->size;
  if (ranks < s.least_ranks() || ranks > s.partitions) fail("a gang of " + std::to_string(ranks) + " ranks");
  auto before = rank.request;
  if (before.k > 0) {
    --before.k;
    if (job.ranks.at(before) != ranks) fail("an output is made again by another number of ranks");
  }
  auto& last = job.gang_attempt[{rank.id.stage, rank.id.attempt}];
  if (last == rank.attempt) return;
  last = rank.attempt;
  if (ranks < s.partitions) ++tally_.narrow;
  if (const auto at = job.ranks.find(rank.request); at != job.ranks.end() && at->second != ranks) ++tally_.other_width;
  job.ranks[rank.request] = ranks;
  job.width[rank.id.stage] = ranks;
  job.expected.clear();
}

void simulation::start_job(std::uint32_t j) {
  auto& job = jobs_[j];
  setup s;
  s.graph = job.graph;
  s.run = app_.run;
  s.job = j;
  s.app = app_;
  s.storage_dir = "/storage";
  s.opt.task_repeat = 2s;
  s.opt.max_recomputes = 10000;
  s.opt.max_interruptions = 10000;
  s.opt.window = static_cast<std::uint32_t>(random_.below(3));
  s.opt.confirm_limit = 100s;
  job.m = std::make_unique<machine>(std::move(s));
  if (!begun_) to_job(j, coordinator_lost{});
  to_job(j, start{});
}

void simulation::begin_run() {
  if (begun_ || !driver_connected_) return;
  from_driver(gang::begin_run{app_});
  later(300ms, [this, life = coordinator_life_] {
    if (life == coordinator_life_) begin_run();
  });
}

void simulation::from_driver(const gang::from_job& m) {
  if (!driver_connected_) return;
  if (trace) {
    std::visit(
        [&](const auto& x) {
          if constexpr (requires { x.request; }) {
            std::string text = "<- job #" + std::to_string(m.index());
            if constexpr (requires { x.request.id; })
              text += " " + to_string(x.request.id) + " most " + std::to_string(x.request.most);
            else
              text += " " + to_string(x.request);
            if constexpr (requires { x.attempt; }) text += " " + to_string(x.attempt);
            if constexpr (requires { x.most; }) text += " most " + std::to_string(x.most);
            say(text);
          }
        },
        m);
  }
  post([this, life = coordinator_life_, m] {
    if (life == coordinator_life_) to_coordinator_machine(gang::admission_event::job_said{app_.run, m});
  });
}

void simulation::driver_heard(const gang::to_job& m) {
  if (std::holds_alternative<gang::begun>(m)) {
    if (std::exchange(begun_, true)) return;
    for (std::uint32_t j = 0; j < jobs_.size(); ++j) to_job(j, coordinator_connected{});
    return;
  }
  if (trace) {
    std::visit(
        [&](const auto& x) {
          if constexpr (requires { x.request; }) {
            std::string text = "-> job " + to_string(x.request) + " #" + std::to_string(m.index());
            if constexpr (requires { x.attempt; }) text += " " + to_string(x.attempt);
            if constexpr (requires { x.keep; })
              text += " keep " + std::to_string(x.keep) + " count " + std::to_string(x.count);
            if constexpr (requires { x.cause; }) text += " cause " + std::to_string(static_cast<int>(x.cause));
            say(text);
          }
        },
        m);
  }
  if (std::holds_alternative<gang::run_over>(m)) fail("the run was given up");
  if (const auto* gone = std::get_if<gang::executor_gone>(&m)) {
    from_driver(gang::noted{gang::noted_kind::executor_gone, {app_.run, 0, 0, 0}, {}, gone->executor});
    for (std::uint32_t j = 0; j < jobs_.size(); ++j) to_job(j, from_coordinator{m});
    return;
  }
  if (const auto* d = std::get_if<gang::denied>(&m)) denied_.insert(d->why.what);
  if (std::holds_alternative<gang::recall>(m)) ++tally_.recalls;
  std::visit(
      [&](const auto& x) {
        if constexpr (requires { x.request; }) {
          const auto j = x.request.job;
          if (!jobs_[j].m || !jobs_[j].m->over()) return to_job(j, from_coordinator{m});
          for (auto& answer : answer_for_ended_job(m)) from_driver(answer);
        }
      },
      m);
}

void simulation::to_job(std::uint32_t j, event e) {
  auto& job = jobs_[j];
  if (!job.m) return;
  std::vector<effect> out;
  job.m->on(std::move(e), now_, out);
  apply(j, out);
  const auto wake = job.m->next_wakeup();
  if (wake >= job.timer) return;
  job.timer = wake;
  later(std::max(wake - now_, duration::zero()), [this, j, wake] {
    if (jobs_[j].timer != wake) return;
    jobs_[j].timer = never;
    to_job(j, timer{});
  });
}

void simulation::apply(std::uint32_t j, std::vector<effect>& effects) {
  auto& job = jobs_[j];
  for (auto& e : effects) {
    if (const auto* c = std::get_if<to_coordinator>(&e)) {
      if (const auto* f = std::get_if<gang::fenced>(&c->what)) {
        if (f->attempt < job.fence[f->request]) fail("the fence is lowered");
        job.fence[f->request] = f->attempt;
      }
      if (const auto* d = std::get_if<gang::decision>(&c->what);
          d != nullptr && d->kind == gang::decision_kind::again) {
        job.fence[d->request] = std::max(job.fence[d->request], attempt_id{d->attempt.term, d->attempt.counter + 1});
      }
      from_driver(c->what);
    } else if (const auto* x = std::get_if<to_executor>(&e)) {
      if (const auto* run = std::get_if<exec::run_task>(&x->what); run != nullptr && run->what.rank) {
        placed(job, run->what);
      }
      const auto* target = find_executor(x->at.boot);
      const auto connection = target != nullptr ? target->connection : 0;
      auto deliver = [this, boot = x->at.boot, connection, what = x->what] {
        const auto* now_there = find_executor(boot);
        if (now_there == nullptr || now_there->connection == connection) task_told(boot, what);
      };
      // What is dropped without a word is repeated by nobody: that would be a leak of this test's making.
      if (std::holds_alternative<exec::drop_blocks>(x->what))
        later(between(0ms, delay_), std::move(deliver));
      else
        post(std::move(deliver));
    } else if (const auto* copy = std::get_if<copy_blocks>(&e)) {
      request_id gang{app_.run, j, copy->stage, 0};
      if (job.gang_attempt[{copy->stage, copy->attempt}] < job.fence[gang])
        fail("a result below the fence is accepted");
      later(between(1ms, 60ms), [this, j, copy = *copy] {
        std::vector<data::block_ref> copies;
        for (const auto& ref : copy.refs) {
          const auto* value = find_block(ref);
          if (value == nullptr) {
            to_job(j, blocks_copied{copy.stage, copy.partition, copy.attempt,
                                    hydrogen::fail(errc::disconnected, "not there")});
            return;
          }
          driver_blocks_[ref.info.id] = *value;
          copies.push_back({ref.info, driver_});
        }
        to_job(j, blocks_copied{copy.stage, copy.partition, copy.attempt, std::move(copies)});
      });
    } else if (const auto* d = std::get_if<drop_copies>(&e)) {
      for (const auto& id : d->blocks) driver_blocks_.erase(id);
    } else if (const auto* r = std::get_if<result_ready>(&e)) {
      later(between(1ms, 100ms), [this, j, r = *r] {
        auto& to = jobs_[j];
        if (to.ended) return;
        std::vector<std::uint64_t> got;
        std::vector<data::block_ref> missing;
        for (const auto& ref : r.refs) {
          if (const auto* value = find_block(ref))
            got.push_back(*value);
          else
            missing.push_back(ref);
        }
        if (!missing.empty()) return to_job(j, blocks_missing{std::move(missing), "not there"});
        std::vector<std::uint64_t> want;
        for (const auto& [bucket, value] : expected(j).back()[r.partition]) want.push_back(value);
        if (got != want) fail("a wrong result for partition " + std::to_string(r.partition));
        to.consumed[r.partition] = true;
        if (to.enough) to_job(j, enough{});
        to_job(j, result_consumed{r.partition});
      });
    } else if (const auto* p = std::get_if<checkpoint_complete>(&e)) {
      const auto last = to_restore(job, p->gang, job.ranks.at(p->gang));
      if (last && p->point.step <= last->step) fail("a checkpoint goes backwards");
      job.checkpointed[p->gang] = p->point;
      if (p->point.replicated) job.replicated[p->gang] = p->point;
    } else if (const auto* done = std::get_if<finished>(&e)) {
      if (job.ended) fail("a job ends twice");
      job.ended = true;
      ++tally_.finished;
      say("job " + std::to_string(j) + " is done");
      const auto all = std::all_of(job.consumed.begin(), job.consumed.end(), [](bool x) { return x; });
      if (!all && !job.enough) fail("a job is done without all of its results");
      if (job.fatal) {
        const auto& s = job.graph.stages[job.fatal_stage];
        if (job.fatal_stage + 1 == job.graph.stages.size() && s.kind == plan::stage_kind::parallel && !job.enough)
          fail("a task that always fails did not end its job");
      }
      for (const auto& kept : done->kept) {
        const auto& want = expected(j).at(kept.keep_as - 1);
        for (std::size_t q = 0; q < want.size(); ++q) {
          for (std::size_t b = 0; b < want[q].size(); ++b) {
            const auto* value = find_block(kept.partitions.at(q).at(b));
            if (value == nullptr || *value != want[q][b].second) fail("a kept output is not there");
          }
        }
      }
    } else if (const auto* bad = std::get_if<failed>(&e)) {
      if (job.ended) fail("a job ends twice");
      job.ended = true;
      ++tally_.failed;
      say("job " + std::to_string(j) + " failed: " + bad->why.message());
      if (job.cancelled && bad->why.code == errc::cancelled) continue;
      // With nodes and executors being killed, the coordinator may judge that a request can never be served.
      if (denied_.contains(bad->why.what) && tally_.executors_killed > killed_before_) continue;
      if (!job.fatal) fail("a job failed though nothing was beyond a limit: " + bad->why.message());
      if (!bad->cause || bad->cause->cause.what != "always fails" || bad->cause->host.empty())
        fail("a job failed with another cause: " + bad->why.message());
    } else if (const auto* line = std::get_if<log_line>(&e)) {
      say("job " + std::to_string(j) + ": " + line->text);
    }
  }
  effects.clear();
}

}  // namespace hydrogen::job::test
