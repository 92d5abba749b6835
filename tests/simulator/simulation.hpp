#pragma once
// A whole cluster in one thread, for the simulator: one coordinator with its journal, agents with their executors, a
// few drivers with model jobs, and a network that drops, repeats, delays and reorders. The machines of the coordinator,
// the agents and the executors are the real ones; the threads of executors and the jobs are small models that keep the
// rules of the protocol. Everything random comes from one seed. After every step the invariants are checked; the first
// that is broken is kept.

#include <hydrogen/base/random.hpp>
#include <hydrogen/gang/admission.hpp>
#include <hydrogen/gang/execution.hpp>
#include <hydrogen/gang/journal.hpp>
#include <hydrogen/gang/reservation.hpp>

#include "cells.hpp"
#include "trouble.hpp"

#include <cstdio>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace hydrogen::gang::testing {

struct model_job;

/// How far the thread of a task is. Those of parallel stages are `inside` at once.
enum class thread_state : std::uint8_t { starting, meeting, at_the_gate, inside };

/// The tasks of one attempt on one executor, as its machine wants them.
struct model_lane {
  request_kind kind = request_kind::gang;
  std::uint32_t slots = 0;
  std::vector<member> members;  // of a gang, when they are known
  bool told_to_enter = false;
  bool gate_open = false;
  bool closed = false;
  bool holds = false;            // its ranks, which meet without threads
  std::set<std::uint32_t> came;  // those that have
  std::set<task_id> pushed;      // ever, but for those withdrawn
  std::deque<task_id> waiting;
  std::map<task_id, thread_state> running;
};

struct model_executor {
  explicit model_executor(run_id run) : run(run), machine({.run = run}) {}
  const run_id run;
  execution machine;
  boot_id boot;
  std::size_t node = 0;
  std::uint64_t timer = 0;
  bool ready = false;
  bool alive = true;
  time_point last_delivery{};  // messages from the agent stay in order
  std::map<attempt_ref, model_lane> lanes;
  std::set<attempt_ref> known;                                      // lanes that were opened, ever
  std::map<std::pair<attempt_ref, task_id>, time_point> undecided;  // came then, and were neither pushed nor refused
};

/// The ranks of a gang attempt, wherever they are.
struct model_meeting {
  std::set<std::uint32_t> came;  // their threads
  std::set<std::uint32_t> met;   // they have joined
  bool permitted = false;
};

/// `drained`: that is durable, and nothing may begin there.
enum class drain_state : std::uint8_t { none, asked, drained, wanted_back };

struct model_node {
  std::string name;
  std::uint32_t slots = 0;
  resources has;
  std::vector<std::string> labels;
  std::optional<reservation> agent;
  boot_id boot;  // under which it may have connected
  std::uint64_t life = 0;
  std::uint64_t timer = 0;
  bool connected = false;          // as the agent sees it,
  std::uint64_t connected_to = 0;  // and to which life of the coordinator
  bool cut = false;                // a partition between it and the coordinator
  drain_state drain = drain_state::none;
  bool paused = false;  // it hears what comes when it goes on
  std::deque<reservation::event> unheard;
  term_id seen;
  std::set<attempt_ref> ended;  // final news were sent under this boot
  std::map<attempt_ref, std::pair<entry_state, time_point>> since;
};

struct fault_rates {
  double drop = 0, repeat = 0, slow = 0;
  double bad_timers = 0, full_disk = 0;
  double executor_start_fails = 0, library_fails = 0, slow_start = 0;
  double rank_fails = 0, stop_hangs = 0;
};

class simulation {
 public:
  /// `trace`: what happens is written there; null: nowhere.
  explicit simulation(const simulation_options&, std::FILE* trace = nullptr);
  ~simulation();

  /// Runs faults, then calm, then the end. Returns what was broken, or nothing.
  std::string run();
  /// When: of what was broken.
  time_point broken_at() const { return now; }
  /// Instead of `run`: after so many steps everything is cancelled, and a second later everything must be free. The
  /// states in which requests were cancelled; empty: everything was over before that.
  std::set<std::string> cancel_after(std::uint64_t steps);
  const std::string& what_broke() const { return broken_; }
  cells visited;

  // ---- what model jobs use
  void after(duration, std::function<void()>);
  void job_to_coordinator(run_id, from_job);
  /// Over the direct connection between a job and an executor: in any order, lost only with one of them.
  void send_gang(boot_id, const attempt_ref&, const std::vector<member>&);
  void send_task(boot_id, const attempt_ref&, const task_id&);
  void cancel_task(boot_id, const task_id&);
  void broken(const std::string& what);
  void trace(const std::string& text);
  duration some_delay();
  /// Nothing but the coordinator may fail.
  bool only_restarts() const;
  bool is_decided(const attempt_ref& ref) const { return gos_.contains(ref); }  // its Go is durable
  duration random(duration least, duration most);

  random_source rng;
  time_point now{};
  fault_rates faults;
  bool quiet = false;  // faults are over
  std::set<request_id> denied_rightly;
  std::map<attempt_ref, std::set<std::uint32_t>> entered;  // ranks whose user code began, ever
  std::map<request_id, attempt_id> newest_entered;
  std::uint32_t total_slots = 0;

 private:
  friend struct model_job;
  struct queued {
    time_point at;
    std::uint64_t order;
    std::function<void()> what;
    bool operator<(const queued& o) const { return at != o.at ? at > o.at : order > o.order; }
  };
  bool may(trouble t) const { return options_.allowed.has(t); }
  void step_until(time_point end, const std::function<bool()>& done = {});
  void check();
  void check_cancelled(const request_id&);
  void deliver(std::function<void()>);  // through the bad network

  void start_coordinator();
  void crash_coordinator();
  void tell_coordinator(const admission::event&);
  void carry_out(const admission::effects&);
  void deliver_to_agent(const admission_effect::tell_agent&);
  void coordinator_timer();
  void old_coordinator_speaks();
  void sync_soon();
  void on_durable(const record&);

  void start_node(std::size_t);
  void crash_node(std::size_t);
  void lose_agent(boot_id);
  void cut_node(std::size_t, duration);
  void pause_node(std::size_t, duration);
  void connect_node(std::size_t);
  void tell_agent(std::size_t, const reservation::event&);
  void carry_out(std::size_t, const reservation::effects&);
  void agent_timer(std::size_t);

  void begin_executor(std::size_t, const application_ref&, boot_id);
  void end_executor(boot_id);
  void executor_dies(boot_id, const std::string& why);
  void executor_gets(boot_id, const to_executor&);
  void executor_says(model_executor&, from_executor);
  void tell_executor(boot_id, execution::event);
  void executor_timer(model_executor&);
  void task_comes(boot_id, const attempt_ref&, const task_id&);
  void perform(model_executor&, execution_effect::open_lane&, execution::effects&);
  void perform(model_executor&, execution_effect::come&, execution::effects&);
  void perform(model_executor&, execution_effect::push&, execution::effects&);
  void perform(model_executor&, execution_effect::start_threads&, execution::effects&);
  void perform(model_executor&, execution_effect::permit&, execution::effects&);
  void perform(model_executor&, execution_effect::enter&, execution::effects&);
  void perform(model_executor&, execution_effect::withdraw&, execution::effects&);
  void perform(model_executor&, execution_effect::close_lane&, execution::effects&);
  void perform(model_executor&, execution_effect::refuse&, execution::effects&);
  void perform(model_executor&, execution_effect::report&, execution::effects&);
  void perform(model_executor&, execution_effect::ended&, execution::effects&);
  model_executor* executor(boot_id);
  model_lane* lane(boot_id, const attempt_ref&);
  model_job* job_of(run_id);

  // ---- what the threads of an executor do
  void run_next(model_executor&, const attempt_ref&);
  void task_ends(boot_id, const attempt_ref&, const task_id&);
  void rank_comes(boot_id, const attempt_ref&, std::uint32_t rank);
  void rank_has_met(model_executor&, const attempt_ref&, std::uint32_t rank, bool last);
  void wait_at_the_gate(model_executor&, const attempt_ref&, std::uint32_t rank);
  static std::uint32_t size_of(const std::vector<member>&);
  void open_gate(model_executor&, const attempt_ref&);
  void open_if_all_came(model_executor&, const attempt_ref&);
  void go_inside(model_executor&, const attempt_ref&, model_lane&);
  void rank_ends(boot_id, const attempt_ref&, std::uint32_t rank, bool good);
  static bool meet_in_one_place(const attempt_ref&);
  static bool meet_in_process(const attempt_ref&, const std::vector<member>&);

  // ---- which cells a step visits
  bool is_gang(const request_id&) const;
  std::vector<request_id> requests_of(std::optional<run_id>) const;
  void count(const admission::event&);
  void count(const record& durable);
  void count(const model_node&, const reservation::event&);
  void count_attempt(const attempt_ref&, attempt_event);
  void count_attempts(const std::vector<request_id>&, boot_id agent, attempt_event);
  void count_request(const request_id&, request_event);
  void count_deadlines(const std::function<void()>& timer);
  void count_deadlines(const model_node&, const std::vector<entry_report>& before);

  void fault();
  void happens(trouble);
  void crash_driver(std::size_t);
  void lose_driver(run_id);
  bool all_jobs_settled() const;
  bool all_slots_free() const;
  std::string run_all();
  void drain_node(std::size_t, bool on);
  void drain_answered(const admission_effect::answer_drain&);
  void make_nodes();
  void make_jobs();
  demand some_demand();
  bool never_fits(const slot_request&) const;
  void final_checks();

  std::priority_queue<queued> queue_;
  std::uint64_t order_ = 0;
  bool in_order_ = false;  // a network that is well
  time_point delivered_{};
  int same_instant_ = 0;
  bool changed_ = false;  // since the last check
  std::string broken_;
  const simulation_options options_;
  std::FILE* const trace_;

  admission_options admission_options_;
  reservation_options reservation_options_;
  memory_disk disk_ = std::make_shared<digest>();
  std::unique_ptr<journal> journal_;
  std::vector<record> appended_;  // not durable yet
  bool disk_full_ = false;
  std::unique_ptr<admission> coordinator_;
  std::unique_ptr<admission> old_coordinator_;  // was taken for dead; the lock keeps the journal from it
  std::uint64_t coordinator_life_ = 0;
  std::uint64_t coordinator_timer_ = 0;
  time_point crashed_{};  // the last time
  bool gone_for_good_ = false;
  bool sync_planned_ = false;
  std::map<attempt_ref, go_record> gos_;  // durable
  std::set<attempt_ref> closed_;          // durable

  std::vector<model_node> nodes_;
  std::map<boot_id, model_executor> executors_;  // those whose death their agent has not heard of
  std::set<boot_id> loaded_;                     // executors that were ready once
  std::map<attempt_ref, model_meeting> meetings_;
  std::vector<std::unique_ptr<model_job>> jobs_;
};

}  // namespace hydrogen::gang::testing
