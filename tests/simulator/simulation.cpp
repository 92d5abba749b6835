#include "simulation.hpp"

#include "model_job.hpp"
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace hydrogen::gang::testing {

simulation::simulation(const simulation_options& options, std::FILE* trace)
    : rng(options.seed), options_(options), trace_(trace) {
  reservation_options_.start_timeout = 6s;
  reservation_options_.contact_running = 60s;
  reservation_options_.join_timeout = 8s;
  admission_options_.queue.gate_deadline = 20s;
  admission_options_.contact_grace = 1s;
  const auto gentle = rng.chance(0.2);  // some seeds have few faults, so that what is rare otherwise happens
  const auto rate = [&](trouble t, double gentle_rate, double usual) {
    return may(t) ? (gentle ? gentle_rate : usual) : 0.0;
  };
  faults.drop = rate(trouble::drop, 0.01, rng.unit() * 0.2);
  faults.repeat = rate(trouble::repeat, 0.01, rng.unit() * 0.2);
  faults.slow = rate(trouble::slow, 0.02, rng.unit() * 0.3);
  faults.bad_timers = rate(trouble::timers, 0.02, 0.1);
  faults.full_disk = rate(trouble::full_disk, 0.002, 0.01);
  faults.executor_start_fails = rate(trouble::start_fails, 0, 0.1);
  faults.library_fails = rate(trouble::bad_library, 0, 0.02);
  faults.slow_start = rate(trouble::slow_start, 0, 0.1);
  faults.rank_fails = rate(trouble::rank_fails, 0.01, 0.08);
  faults.stop_hangs = rate(trouble::stop_hangs, 0.01, 0.1);
  make_nodes();
  make_jobs();
}

simulation::~simulation() = default;

// ---- time and network ----------------------------------------------------------------------------------------------

duration simulation::random(duration least, duration most) {
  return least + duration(static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>((most - least).count()) + 1)));
}

duration simulation::some_delay() {
  if (!quiet && rng.chance(faults.slow)) return random(1ms, 3s);
  return random(20us, 2ms);
}

void simulation::after(duration d, std::function<void()> what) {
  queue_.push({now + d, ++order_, std::move(what)});
}

void simulation::deliver(std::function<void()> what) {
  if (in_order_) {
    delivered_ = std::max(delivered_, now + some_delay());
    return queue_.push({delivered_, ++order_, std::move(what)});
  }
  if (!quiet && rng.chance(faults.drop)) return;
  if (!quiet && rng.chance(faults.repeat)) after(some_delay() * 2, what);
  after(some_delay(), std::move(what));
}

void simulation::broken(const std::string& what) {
  if (broken_.empty()) broken_ = what;
  trace("BROKEN: " + what);
}

void simulation::trace(const std::string& text) {
  if (trace_ != nullptr)
    std::fprintf(trace_, "%10.3f  %s\n", static_cast<double>(now.time_since_epoch().count()) / 1e6, text.c_str());
}

void simulation::step_until(time_point end, const std::function<bool()>& done) {
  while (!queue_.empty() && queue_.top().at <= end && broken_.empty()) {
    auto next = std::move(const_cast<queued&>(queue_.top()));
    queue_.pop();
    same_instant_ = next.at == now ? same_instant_ + 1 : 0;
    if (same_instant_ > 10'000) return broken("time stands still: a timer is asked for again and again");
    now = next.at;
    next.what();
    check();
    if (done && done()) return;
  }
  if (broken_.empty()) now = end;
}

// ---- the whole ---

bool simulation::all_jobs_settled() const {
  return std::all_of(jobs_.begin(), jobs_.end(), [](const auto& j) { return j->settled(); });
}

std::string simulation::run() {
  const auto broken = run_all();
  if (!broken.empty() && trace_ != nullptr && coordinator_) {
    const auto status = coordinator_->status();
    for (const auto& n : status.nodes) {
      trace(fmt::format("node {} {} {}: {} slots, {} free", n.name, to_string(n.boot), n.state, n.slots, n.free));
      for (const auto& h : n.held) trace(fmt::format("  {} {} holds {}", h.request, h.attempt, h.slots));
    }
    for (const auto& r : status.runs) trace(fmt::format("run {} {}, {} requests", r.application, r.state, r.requests));
    for (const auto& r : status.requests) {
      trace(fmt::format("request {} {} {} held {} of {}..{} {}: {}", r.label, r.kind, r.state, r.held, r.least, r.most,
                        r.attempt, r.reason));
    }
  }
  return broken;
}

std::string simulation::run_all() {
  start_coordinator();
  for (std::size_t i = 0; i < nodes_.size(); ++i) start_node(i);
  for (auto& job : jobs_) after(random(1ms, 400ms), [j = job.get()] { j->tick(); });

  const auto trouble = random(2s, 40s);
  const auto every = random(150ms, 3s);
  const auto fault_rate = rng.unit();
  for (auto at = every; at < trouble; at += random(every / 2, every * 3 / 2)) {
    after(at, [this, fault_rate] {
      if (rng.chance(fault_rate)) fault();
    });
  }
  // Faults stop; what they broke comes back. Often enough everything is over before that.
  step_until(now + trouble);
  trace("faults stop");
  quiet = true;
  if (!coordinator_) start_coordinator();
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (!nodes_[i].agent) start_node(i);
  }
  step_until(now + 400s, [this] { return all_jobs_settled(); });
  if (!broken_.empty()) return broken_;
  if (!all_jobs_settled()) {
    for (const auto& job : jobs_) {
      if (!job->settled()) broken("not settled after the faults: " + job->app.name + job->open_requests());
    }
    return broken_;
  }
  final_checks();
  return broken_;
}

std::set<std::string> simulation::cancel_after(std::uint64_t steps) {
  quiet = in_order_ = true;
  start_coordinator();
  for (std::size_t i = 0; i < nodes_.size(); ++i) start_node(i);
  for (auto& job : jobs_) after(random(1ms, 400ms), [j = job.get()] { j->tick(); });
  bool reached = false;
  step_until(now + 400s, [&] { return (reached = steps-- == 0) || all_jobs_settled(); });
  if (broken_.empty() && !reached && !all_jobs_settled()) broken("not settled though nothing went wrong");
  if (!broken_.empty() || all_jobs_settled()) return {};
  std::set<std::string> states;
  for (const auto& r : coordinator_->status().requests) states.insert(r.kind + " " + r.state);
  if (states.empty()) states.insert("not submitted");
  for (auto& job : jobs_) job->cancel_everything();
  step_until(now + 1s);
  if (!broken_.empty()) return states;
  for (const auto& job : jobs_) {
    if (!job->settled()) broken("not settled a second after it was cancelled: " + job->app.name + job->open_requests());
  }
  if (!all_slots_free()) broken("a second after all was cancelled an agent has not all slots free");
  if (coordinator_->account().total_free() != total_slots) {
    broken(fmt::format("a second after all was cancelled the ledger shows {} of {} slots free",
                       coordinator_->account().total_free(), total_slots));
  }
  if (!coordinator_->status().requests.empty()) broken("a second after all was cancelled a request is still known");
  for (const auto& [boot, x] : executors_) {
    if (x.alive && !x.lanes.empty()) broken("a second after all was cancelled an executor holds an attempt");
  }
  return states;
}

}  // namespace hydrogen::gang::testing
