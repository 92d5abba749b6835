#pragma once
// The executor's side of gangs and leases: which attempts are held, which task may run and when, when all ranks here
// have joined or returned. Between an agent (attempts) and jobs (tasks), which come by different ways, in any order.
//
//     attempt: (unknown) -accept_lease, gang_came-> held
//              held -stop_attempt, or all ranks here returned-> stopping -lane idle-> over
//     task:    attempt held    pushed
//              unknown         kept for `early_patience`: its lease is on its way through the agent; then refused
//              stopping, over  refused
//
// Leases are announced by the agent, gangs by their job, with their ranks: the agent has granted the slots before the
// job can know of the attempt, and ends every attempt that the job may have sent here through this machine.
// A rank that is pushed has a thread make its links and reports `rank_joined`, for itself or, when it completes a gang
// that meets in one place, for everyone. When all ranks of a gang live in this process, links cannot fail to come: they
// meet without threads, and their lanes hold them until the gate opens at which they would wait, so that each thread is
// woken once. If that takes long their threads wait for it, as they can tell what is missing. The same goes for ranks
// in processes of one host, which are pushed, but whose threads may be left asleep until the gate opens.
//
// Pure: no clock, thread, socket. Feed `timer` at `next_wakeup()` (early or late timers do no harm). One thread: the
// executor's actor. A task is the caller's own object; the machine keeps it while nothing else does.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/gang/messages.hpp>

#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

namespace hydrogen::gang {

/// What the machine knows of a task; callers derive what runs.
struct hosted_task {
  hosted_task(const task_id& id, const attempt_ref& ref) : id(id), ref(ref) {}
  virtual ~hosted_task() = default;
  const task_id id;
  const attempt_ref ref;
};
using hosted_task_ptr = std::shared_ptr<hosted_task>;

/// What the machine knows of a gang attempt; callers derive what its ranks meet with.
struct hosted_gang {
  hosted_gang(const attempt_ref& ref, std::uint32_t ranks_here, bool in_process, bool on_host = false)
      : ref(ref), ranks_here(ranks_here), in_process(in_process), on_host(on_host) {}
  virtual ~hosted_gang() = default;
  const attempt_ref ref;
  const std::uint32_t ranks_here;
  const bool in_process;  // all ranks of the gang live in this process, here or at other executors
  const bool on_host;     // in several processes of one host: their threads may sleep until the gate opens
};
using hosted_gang_ptr = std::shared_ptr<hosted_gang>;

struct execution_options {
  run_id run;                       // tasks of other runs are refused
  duration early_patience = 500ms;  // for the attempt of a task that came before it
  duration enter_patience = 50ms;   // then ranks that have met without threads get them, if they have none yet
  duration sleep_patience = 500ms;  // then threads that sleep at a gate wake up, and with them all who sleep there
  std::size_t most_early = 256;     // tasks that wait so, per attempt; more are refused, and their job repeats them
  std::size_t most_over = 256;      // attempts remembered as over, so that their late tasks are refused at once
};

// ---- events --------------------------------------------------------------------------------------------------------

namespace execution_event {
struct agent_said {
  to_executor message;
};
/// A gang attempt whose ranks here are on their way, from its job. Comes before them, and again when they are repeated.
struct gang_came {
  hosted_gang_ptr gang;
};
struct task_came {
  hosted_task_ptr task;
};
/// The job does not want this task any more, whether it waits or runs.
struct cancel {
  task_id task;
  std::string why;
};
/// Answer to execution_effect::withdraw: the task had not begun, and is out of its lane.
struct withdrawn {
  attempt_ref ref;
  task_id task;
};
/// A rank has its links and waits for enter, on a thread or in its lane; its function has returned.
struct rank_joined {
  attempt_ref ref;
  bool everyone = false;  // it was the last rank of all
  std::string meets = {};
};
struct rank_returned {
  attempt_ref ref;
};
/// Nothing of the attempt runs any more. After execution_effect::close_lane.
struct lane_idle {
  attempt_ref ref;
};
/// The executor is to end: all attempts stop.
struct end {};
struct timer {};
using any = std::variant<agent_said, gang_came, task_came, cancel, withdrawn, rank_joined, rank_returned, lane_idle,
                         end, timer>;
}  // namespace execution_event

// ---- effects -------------------------------------------------------------------------------------------------------

namespace execution_effect {
/// A place for the tasks of the attempt, of which at most `slots` run at a time. That of a gang in one process holds
/// them until the gate opens, wherever that is heard first, or until `start_threads`.
struct open_lane {
  attempt_ref ref;
  std::uint32_t slots = 0;
  hosted_gang_ptr gang;  // null: a lease
};
/// A rank of a gang in one process meets the others, and then goes into its lane. Does not wait. Answered by
/// `rank_joined` when it is the last one of all.
struct come {
  hosted_task_ptr task;
};
/// Into the lane of its attempt, behind what was pushed before.
struct push {
  hosted_task_ptr task;
};
/// The lane holds its tasks no longer, and threads that sleep until its gate opens see to what they wait for. Again, or
/// after the gate has opened: does nothing.
struct start_threads {
  attempt_ref ref;
};
/// Ranks that meet in one place may begin when the last one comes.
struct permit {
  attempt_ref ref;
};
/// All ranks, everywhere, have joined: user code may begin.
struct enter {
  attempt_ref ref;
};
/// Out of its lane, answered by `withdrawn`; if it has begun, abort it.
struct withdraw {
  attempt_ref ref;
  task_id task;
  std::string why;
};
/// Drop what waits in the lane, abort what runs; answered by `lane_idle`.
struct close_lane {
  attempt_ref ref;
  error why;
};
/// To the task's job; the task is dropped.
struct refuse {
  hosted_task_ptr task;
  std::string why;
};
struct report {
  from_executor message;
};
/// After `end`: nothing is left.
struct ended {};
using any =
    std::variant<open_lane, come, push, start_threads, permit, enter, withdraw, close_lane, refuse, report, ended>;
}  // namespace execution_effect

class execution {
 public:
  using event = execution_event::any;
  using effects = std::vector<execution_effect::any>;

  explicit execution(execution_options options) : options_(options) {}

  /// Appends the effects to `out`, so that a host can take many events before it acts.
  void on(event, time_point now, effects& out);
  /// When the next `timer` is due; `never` when nothing is.
  time_point next_wakeup() const;

 private:
  struct attempt {
    attempt_ref ref;
    std::uint32_t slots = 0;  // of a gang: ranks here
    bool is_gang = false;
    bool in_process = false;                 // a gang whose ranks meet without threads
    bool on_host = false;                    // or with threads that may sleep on
    std::unordered_set<std::uint64_t> seen;  // (partition, attempt) of tasks: a repeated one is not run twice
    std::set<std::uint32_t> ranks;           // that have come
    time_point threads_at = never;           // those that have come so get threads at the latest
    bool has_threads = false;                // to wait with
    bool entered = false;
    bool all_joined = false;  // everywhere
    bool stopping = false;
    bool told_to_stop = false;  // not only done by itself
    std::uint32_t joined = 0;
    std::uint32_t returned = 0;
  };
  struct early_tasks {
    std::vector<hosted_task_ptr> tasks;
    time_point until;
  };

  void handle(execution_event::agent_said&);
  void handle(execution_event::gang_came&);
  void handle(execution_event::task_came&);
  void handle(execution_event::cancel&);
  void handle(execution_event::withdrawn&);
  void handle(execution_event::rank_joined&);
  void handle(execution_event::rank_returned&);
  void handle(execution_event::lane_idle&);
  void handle(execution_event::end&);
  void handle(execution_event::timer&);

  void said(accept_lease&);
  void said(permit_ranks&);
  void said(enter_ranks&);
  void said(stop_attempt&);
  void said(lend_devices&) {}  // decides nothing: for who runs the tasks

  void open(const attempt_ref&, std::uint32_t slots, hosted_gang_ptr);
  void take(attempt&, hosted_task_ptr);
  void stop(attempt&, error why);
  void refuse(hosted_task_ptr);
  void refuse_early(const attempt_ref&);
  attempt* running(const attempt_ref&);
  template <class Effect>
  void add(Effect e) {
    out_->emplace_back(std::in_place_type<Effect>, std::move(e));
  }
  template <class Message>
  void report(Message m) {
    auto& made = out_->emplace_back(std::in_place_type<execution_effect::report>);
    std::get<execution_effect::report>(made).message = std::move(m);
  }
  bool is_over(const attempt_ref&) const;
  void remember(const attempt_ref&);

  const execution_options options_;
  std::map<attempt_ref, attempt> attempts_;
  std::map<attempt_ref, early_tasks> early_;
  std::set<attempt_ref> permitted_early_;  // before their gang came
  std::unordered_set<attempt_ref> over_;
  std::deque<attempt_ref> over_in_order_;
  bool ending_ = false;
  time_point now_{};
  effects* out_ = nullptr;
};

}  // namespace hydrogen::gang
