// Model executors: attempts, tasks, ranks, blocks.
#include "simulation.hpp"

#include <algorithm>

namespace hydrogen::job::test {

simulation::executor* simulation::find_executor(boot_id boot) {
  const auto at = executors_.find(boot.value);
  return at == executors_.end() ? nullptr : &at->second;
}

simulation::attempt* simulation::find_attempt(boot_id boot, const gang::attempt_ref& ref) {
  auto* e = find_executor(boot);
  if (e == nullptr) return nullptr;
  const auto at = e->attempts.find(ref);
  return at == e->attempts.end() || at->second.stopping ? nullptr : &at->second;
}

void simulation::tell_agent(executor& e, gang::from_executor m) {
  later(200us, [this, n = e.on, boot = e.boot, agent = nodes_[e.on].boot, m = std::move(m)] {
    if (find_executor(boot) != nullptr) to_agent(n, agent, gang::reservation_event::executor_said{boot, m});
  });
}

void simulation::executor_told(boot_id boot, const gang::to_executor& message) {
  auto* e = find_executor(boot);
  if (e == nullptr) return;
  if (const auto* m = std::get_if<gang::accept_lease>(&message)) {
    e->attempts.try_emplace(m->ref).first->second.slots = m->slots;
  } else if (const auto* n = std::get_if<gang::enter_ranks>(&message)) {
    auto* a = find_attempt(boot, n->ref);
    if (a == nullptr || a->entered) return;
    if (!a->joined) fail("a rank is entered before it joined");
    a->entered = true;
    auto& gang = gangs_[n->ref];
    if (++gang.entered == gang.members.size()) later(1ms, [this, ref = n->ref] { advance(ref); });
  } else if (const auto* s = std::get_if<gang::stop_attempt>(&message)) {
    if (const auto at = e->attempts.find(s->ref); at != e->attempts.end() && !at->second.stopping) {
      auto& a = at->second;
      a.stopping = true;
      if (random_.chance(0.5)) {  // what is stopped may say so
        for (const auto& id : a.running) {
          exec::task t;
          t.id = id;
          t.request = s->ref.request;
          t.attempt = s->ref.attempt;
          answer(*e, failure_of(*e, t, errc::aborted, "stopped"));
        }
      }
    }
    later(between(1ms, 5ms), [this, boot, ref = s->ref] {
      if (auto* x = find_executor(boot)) {
        x->attempts.erase(ref);
        x->over.insert(ref);
        tell_agent(*x, gang::attempt_stopped{ref});
      }
    });
  }
}

/// To the job. Messages are lost with their connection, and now and then without a word.
void simulation::answer(executor& e, const exec::from_task_host& message) {
  const auto job = std::visit([](const auto& m) { return m.id.job; }, message);
  post([this, boot = e.boot, connection = e.connection, job, message] {
    auto* x = find_executor(boot);
    if (x == nullptr || x->connection != connection) return;
    if (const auto* done = std::get_if<exec::task_done>(&message); done != nullptr && jobs_[job].m->over()) {
      // Its driver has forgotten the job, so what comes now stays until the run ends: no leak of the machine.
      for (const auto& b : done->outputs) x->blocks.erase(b.id);
    }
    to_job(job, from_executor{boot, message});
  });
}

void simulation::task_told(boot_id boot, const exec::to_task_host& message) {
  auto* e = find_executor(boot);
  if (e == nullptr) {
    later(1ms, [this, boot] {
      for (std::uint32_t j = 0; j < jobs_.size(); ++j) to_job(j, executor_unreachable{boot, "no such process", false});
    });
    return;
  }
  if (const auto* j = std::get_if<exec::join_gang>(&message)) {
    join(*e, *j);
  } else if (const auto* m = std::get_if<exec::run_task>(&message)) {
    const gang::attempt_ref ref{m->what.request, m->what.attempt};
    auto* a = find_attempt(boot, ref);
    if (a == nullptr) return answer(*e, exec::task_refused{m->what.id, ref.request, ref.attempt, "not held"});
    if (const auto known = a->answers.find(m->what.id); known != a->answers.end()) return answer(*e, known->second);
    if (!a->seen.insert(m->what.id).second) return;
    if (a->is_gang) {
      a->ranks.emplace(m->what.id.partition, m->what);
      maybe_joined(*e, ref);
    } else {
      a->queue.push_back(m->what);
      run_next(*e, ref);
    }
  } else if (const auto* c = std::get_if<exec::cancel_task>(&message)) {
    for (auto& [ref, a] : e->attempts) {
      if (std::erase_if(a.queue, [&](const auto& t) { return t.id == c->id; }) != 0) a.seen.erase(c->id);
      if (a.running.erase(c->id) != 0) {
        exec::task t;
        t.id = c->id;
        t.request = ref.request;
        t.attempt = ref.attempt;
        answer(*e, failure_of(*e, t, errc::cancelled, c->why));
        run_next(*e, ref);
      }
    }
  } else if (const auto* d = std::get_if<exec::drop_blocks>(&message)) {
    for (const auto& id : d->blocks) e->blocks.erase(id);
  }
}

void simulation::join(executor& e, const exec::join_gang& what) {
  const gang::attempt_ref ref{what.request, what.attempt};
  if (e.over.contains(ref)) return;
  const auto [at, fresh] = e.attempts.try_emplace(ref);
  if (!fresh) return;
  auto& gang = gangs_[ref];
  gang.members.clear();
  for (const auto& m : what.members) {
    if (gang.members.empty() || gang.members.back().executor != m.executor) {
      gang.members.push_back({m.node, {}, m.executor, m.endpoint, 0, {}});
    }
    gang.members.back().ranks.push_back(m.rank);
  }
  gang.world = static_cast<std::uint32_t>(what.members.size());
  at->second.is_gang = true;
  at->second.slots = static_cast<std::uint32_t>(
      std::count_if(what.members.begin(), what.members.end(), [&](const auto& m) { return m.executor == e.boot; }));
}

void simulation::maybe_joined(executor& e, const gang::attempt_ref& ref) {
  auto* a = find_attempt(e.boot, ref);
  if (a == nullptr || a->joined || a->ranks.size() != a->slots) return;
  a->joined = true;
  tell_agent(e, gang::ranks_joined{ref});
}

const std::uint64_t* simulation::find_block(const data::block_ref& ref) {
  if (ref.info.here) return reinterpret_cast<const std::uint64_t*>(ref.info.here->bytes.data());
  const content_map* store = nullptr;
  if (ref.at.boot == driver_.boot)
    store = &driver_blocks_;
  else if (auto* e = find_executor(ref.at.boot))
    store = &e->blocks;
  if (store == nullptr) return nullptr;
  const auto at = store->find(ref.info.id);
  return at == store->end() ? nullptr : &at->second;
}

std::vector<std::vector<std::uint64_t>> simulation::fetch(const exec::task& t, std::vector<data::block_ref>& missing) {
  std::vector<std::vector<std::uint64_t>> inputs(t.inputs.size());
  for (std::size_t k = 0; k < t.inputs.size(); ++k) {
    for (const auto& ref : t.inputs[k]) {
      if (const auto* value = find_block(ref))
        inputs[k].push_back(*value);
      else
        missing.push_back(ref);
    }
  }
  return inputs;
}

exec::task_failed simulation::failure_of(executor& e, const exec::task& t, errc code, std::string text,
                                         std::vector<data::block_ref> missing) {
  task_failure why;
  why.cause = {code, std::move(text), {}, {}};
  why.host = nodes_[e.on].name;
  return {t.id, t.request, t.attempt, e.boot, std::move(why), std::move(missing)};
}

exec::task_done simulation::result_of(executor& e, const exec::task& t,
                                      const std::vector<std::vector<std::uint64_t>>& inputs) {
  exec::task_done done{t.id, t.request, t.attempt, {e.boot, endpoint_of(e.boot)}, {}, 1ms};
  const auto buckets = buckets_of(t.id.job, t.id.stage, t.id.partition, t.buckets);
  auto read = inputs;
  if (t.rank) read.push_back({t.rank->size});
  for (std::uint32_t i = 0; i < buckets.size(); ++i) {
    data::block_info b;
    b.id = data::block_id::output(t.id.run, t.id.job, t.id.stage, t.id.partition, t.id.attempt, i);
    b.rows = 1;
    b.bytes = 1 + (t.id.partition * 7 + i) % 50;
    b.bucket = buckets[i];
    const auto content = content_of(t.id.job, t.id.stage, t.id.partition, i, read);
    if (t.answer_with > 0 && t.id.partition % 3 != 0) {
      b.here = data::copy_to_block(std::as_bytes(std::span(&content, 1)), 1, 0, data::layout::flat);
      ++tally_.with_answer;
    } else {
      e.blocks[b.id] = content;
    }
    done.outputs.push_back(std::move(b));
  }
  return done;
}

void simulation::run_next(executor& e, const gang::attempt_ref& ref) {
  auto* a = find_attempt(e.boot, ref);
  while (a != nullptr && a->running.size() < a->slots && !a->queue.empty()) {
    const auto t = a->queue.front();
    a->queue.erase(a->queue.begin());
    a->running.insert(t.id);
    ++tally_.tasks;
    const auto takes = random_.chance(0.05) ? between(100ms, 3s) : between(1ms, 400ms);
    later(takes, [this, boot = e.boot, ref, t] { finish_task(boot, ref, t); });
  }
}

void simulation::finish_task(boot_id boot, const gang::attempt_ref& ref, const exec::task& t) {
  auto* a = find_attempt(boot, ref);
  if (a == nullptr || a->running.erase(t.id) == 0) return;
  auto& e = *find_executor(boot);
  auto& job = jobs_[t.id.job];
  std::vector<data::block_ref> missing;
  const auto inputs = fetch(t, missing);
  exec::from_task_host result;
  auto& failures = job.failures[{t.id.stage, t.id.partition}];
  if (!missing.empty()) {
    ++tally_.missing;
    result = failure_of(e, t, errc::disconnected, "inputs are missing", std::move(missing));
  } else if (job.fatal && job.fatal_stage == t.id.stage && job.fatal_partition == t.id.partition) {
    result = failure_of(e, t, errc::task_failed, "always fails");
  } else if (failures < job.graph.task_retries && random_.chance(0.04)) {
    ++failures;
    result = failure_of(e, t, errc::task_failed, "fails sometimes");
  } else {
    result = result_of(e, t, inputs);
  }
  a->answers[t.id] = result;
  answer(e, result);
  run_next(e, ref);
}

/// One step of a whole gang; ranks are in lockstep, as collectives keep them.
void simulation::advance(const gang::attempt_ref& ref) {
  auto& gang = gangs_[ref];
  for (const auto& member : gang.members) {
    auto* a = find_attempt(member.executor, ref);
    if (a == nullptr || !a->entered) return;  // it hangs until it is revoked
  }
  auto& job = jobs_[ref.request.job];
  const auto stage = ref.request.stage;
  const auto rank_task = [&](const gang::member& member, std::uint32_t rank) -> const exec::task& {
    return find_attempt(member.executor, ref)->ranks.at(rank);
  };
  const auto fail_rank = [&](const gang::member& member, std::uint32_t rank, errc code, std::string text,
                             std::vector<data::block_ref> missing = {}) {
    auto& e = *find_executor(member.executor);
    const auto& t = rank_task(member, rank);
    const auto failed = failure_of(e, t, code, std::move(text), std::move(missing));
    find_attempt(member.executor, ref)->answers[t.id] = failed;
    answer(e, failed);
  };
  if (!gang.begun) {
    gang.begun = true;
    ++tally_.gang_attempts;
    const auto& first = rank_task(gang.members[0], gang.members[0].ranks[0]);
    gang.step = first.rank->restore ? first.rank->restore->step : 0;
    if (first.rank->restore) ++tally_.restored;
    if (first.rank->restore != to_restore(job, ref.request, gang.world))
      fail("a gang does not restore the last complete checkpoint that it can");
    if (const auto last = job.checkpointed.find(ref.request);
        last != job.checkpointed.end() && gang.step != last->second.step) {
      ++tally_.gone_back;
    }
    bool missed = false;
    for (const auto& member : gang.members) {
      for (const auto rank : member.ranks) {
        const auto& t = rank_task(member, rank);
        if (t.rank->restore != first.rank->restore) fail("ranks restore different steps");
        if (t.rank->size != gang.world || t.rank->gang_try != first.rank->gang_try)
          fail("ranks disagree about their gang");
        std::vector<data::block_ref> missing;
        gang.inputs[rank] = fetch(t, missing);
        if (missing.empty()) continue;
        ++tally_.missing;
        missed = true;
        fail_rank(member, rank, errc::disconnected, "inputs are missing", std::move(missing));
      }
    }
    if (missed) return;
  }
  const auto& member = gang.members[random_.below(gang.members.size())];
  const auto rank = member.ranks[random_.below(member.ranks.size())];
  const auto fatal = job.fatal && job.fatal_stage == stage;
  if ((fatal && random_.chance(0.3)) || (faults() && random_.chance(0.01))) {
    for (const auto& m : gang.members) {
      for (const auto r : m.ranks) {
        if (r == rank)
          fail_rank(m, r, errc::task_failed, fatal ? "always fails" : "fails sometimes");
        else
          fail_rank(m, r, errc::aborted, "another rank failed");
      }
    }
    return;
  }
  if (gang.step >= job.steps) return return_ranks(ref);
  ++gang.step;
  ++tally_.steps;
  if (const auto last = to_restore(job, ref.request, gang.world); last && gang.step <= last->step)
    fail("a checkpointed step is trained again");
  if (gang.step % job.every == 0) {
    for (const auto& m : gang.members) {
      for (const auto r : m.ranks) {
        const auto replicated = job.is_replicated(gang.step);
        if (replicated && r != 0) continue;
        const auto& t = rank_task(m, r);
        answer(*find_executor(m.executor),
               exec::checkpointed{t.id, t.request, t.attempt, gang.step, replicated, {gang.step, r}});
      }
    }
  }
  later(between(1ms, 60ms), [this, ref] { advance(ref); });
}

void simulation::return_ranks(const gang::attempt_ref& ref) {
  auto& gang = gangs_[ref];
  for (const auto& member : gang.members) {
    auto& e = *find_executor(member.executor);
    auto& a = *find_attempt(member.executor, ref);
    for (const auto rank : member.ranks) {
      const auto& t = a.ranks.at(rank);
      const auto result = result_of(e, t, gang.inputs[rank]);
      a.answers[t.id] = result;
      answer(e, result);
    }
    tell_agent(e, gang::ranks_returned{ref});
    e.attempts.erase(ref);
    e.over.insert(ref);
  }
}

}  // namespace hydrogen::job::test
