#pragma once
// The coordinator's side of gang admission: one queue of requests for slots, all-or-nothing starts of gangs, leases of
// parallel stages. *If the function of any rank was entered, every rank of that attempt had joined.*
//
//     reserve and fence -> all reserved -> commit -> all committed and fenced -> Go record written, placed
//     -> record durable -> permit -> all joined -> granted, or enter, where nobody else can let them in
//     -> ... -> all have finished, release by the job -> Closed record written -> record durable -> over
//
// A lease goes the same way without fence, Go record and joining: one member cannot start in part.
// Safety rests on no clock: the ledger is debited before the first reserve leaves and credited only when the agent
// confirms or its boot is dead; what must not be forgotten is durable before it is acted on. Deadlines and repeats only
// make progress: every unanswered message is derived from the state and sent again after `retry`.
//
// Pure: no clock, thread, socket. `effects = on(event, now)`; feed `timer{}` at `next_wakeup()` (early or late timers
// do no harm). One thread: the coordinator's actor. Malformed requests are denied with the reason; what cannot be
// understood from an old or unknown speaker is ignored or answered, as the protocol says.

#include <hydrogen/gang/deadlines.hpp>
#include <hydrogen/gang/digest.hpp>
#include <hydrogen/gang/ledger.hpp>
#include <hydrogen/gang/queue.hpp>
#include <hydrogen/gang/request_state.hpp>
#include <hydrogen/gang/status.hpp>

#include <deque>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

namespace hydrogen::gang {

struct admission_options {
  duration retry = 500ms;             // what is unanswered is said again after this
  duration sync_after = 100us;        // a record that nobody waits for: it shares the sync of another until then
  duration notice_retry_most = 10s;   // news to a job that does not answer: said again ever less often, up to this
  duration tell_agents_after = 10ms;  // what agents need only for their own state: see tell_agents_later
  duration reserve_timeout = 5s;      // an agent that does not answer a reserve: the attempt is given up, queued again
  duration fence_timeout = 10s;       // a job that does not acknowledge its fence: the attempt is given up, parked
  duration membership_grace =
      10s;                      // a lost node counts for *never fits* this long; nothing is judged this early in a term
  duration contact_grace = 1s;  // an agent whose connection closed is dead after this unless it comes back
  duration driver_grace = 1s;   // the same for a driver: its requests are cancelled
  duration driver_return = 10s;      // after a restart drivers and their requests must be back within this
  std::uint32_t expected_nodes = 0;  // with this many in, *never fits* is judged before the grace is over; 0: unknown
  std::uint32_t executor_failures = 3;   // a request whose executors fail to start this often is denied
  duration avoid_for = 60s;              // a node where an attempt was lost, or that its job names
  std::uint32_t application_queued = 0;  // most requests of one application that may wait; 0: any number
  queue_options queue = {};              // gate_deadline: leases that a recall does not bring back are revoked then
};

// ---- events --------------------------------------------------------------------------------------------------------

namespace admission_event {
/// A driver's connection carries one run: messages about another run are dropped.
struct job_said {
  run_id run;
  from_job message;
};
struct agent_said {
  from_agent message;
};
/// The connection of this agent boot closed, or its heartbeats stopped. (A later `enlist` of the boot undoes it.)
struct agent_lost {
  boot_id agent;
};
struct driver_lost {
  run_id run;
};
/// The first n records that were appended are durable.
struct synced {
  std::uint64_t n = 0;
  error shortage{errc::none, {}, {}, {}};  // see journal.hpp: nothing new is started while there is one
};
/// Somebody wants nothing new to begin on this node (`on`), or that again. Answered by `answer_drain` with `ticket`.
struct drain {
  std::uint64_t ticket = 0;
  std::string node;
  bool on = true;
};
struct timer {};
using any = std::variant<job_said, agent_said, agent_lost, driver_lost, synced, drain, timer>;
}  // namespace admission_event

// ---- effects -------------------------------------------------------------------------------------------------------

namespace admission_effect {
/// Both are dropped by the actor while there is no connection: they will be repeated.
struct tell_agent {
  boot_id agent;
  to_agent message;
};
struct tell_job {
  run_id run;
  to_job message;
};
/// Append to the journal.
struct append {
  record what;
};
/// Make durable what was appended (several syncs in one are best), then say `synced`.
struct sync {};
struct answer_drain {
  std::uint64_t ticket = 0;
  error problem{errc::none, {}, {}, {}};  // not_found: no such node; errc::none: it is done and durable
};
/// For people.
struct log_line {
  bool warning = false;
  std::string text;
};
using any = std::variant<tell_agent, tell_job, append, sync, answer_drain, log_line>;
}  // namespace admission_effect

class admission {
 public:
  using event = admission_event::any;
  using effects = std::vector<admission_effect::any>;

  /// What the journal holds; the term is one above its last.
  admission(admission_options, const digest&, time_point now);

  /// The first effects: the record of the new term. Events wait until it is synced.
  effects start(time_point now);
  effects on(const event&, time_point now);
  /// When the next `timer` is due; `never` when nothing is.
  time_point next_wakeup() const { return wakes_.next(); }

  term_id term() const { return term_; }
  cluster_status status() const;
  /// Null: nothing is known of it, or it is over.
  const request_state* known(const request_id&) const;
  /// What the ledger believes.
  const ledger& account() const { return ledger_; }

 private:
  enum class wake_kind : std::uint8_t {
    attempt,
    request,
    node,
    acknowledge,
    run,
    notices,
    reasons,
    membership,
    journal,
    queue
  };
  struct wake {
    wake_kind kind;
    request_id request;
    attempt_id attempt;
    boot_id boot;
    auto operator<=>(const wake&) const = default;
  };
  struct notice_key {
    noted_kind kind;
    request_id request;
    attempt_id attempt;
    boot_id executor;
    auto operator<=>(const notice_key&) const = default;
  };
  struct notice {
    to_job message;
    time_point next;
    duration interval;
  };
  struct run_state {
    application_ref app;
    bool begun = false;  // said begin_run in this term
    bool connected = false;
    bool ending = false;
    bool requests_gone = false;   // and its executors are being ended
    time_point deadline = never;  // driver must be back
    std::set<request_id> requests;
    ended_requests over;
    std::set<boot_id> hosts;  // agents that may have an executor of it
    time_point next_repeat = never;
    std::map<notice_key, notice> notices;
  };
  enum class gate_kind : std::uint8_t { term, go, verdict, requeue, drain };
  struct gate {
    std::uint64_t n;
    gate_kind kind;
    request_id request;
    attempt_id attempt;
    std::uint64_t decision;  // drain: the ticket
  };

  // admission.cpp: the frame, time, journal, what is sent
  void replay(const digest&);
  effects take_effects();
  void handle(const admission_event::job_said&);
  void handle(const admission_event::agent_said&);
  void handle(const admission_event::agent_lost&);
  void handle(const admission_event::driver_lost&);
  void handle(const admission_event::synced&);
  void handle(const admission_event::drain&);
  void handle(const admission_event::timer&);
  void wake_up(const wake&);
  std::uint64_t append(record_body);
  void tell_agent(boot_id, to_agent);
  void tell_job(run_id, to_job);
  void order(boot_id, const attempt_ref&, entry_verb);
  void notify(run_id, notice_key, to_job);
  void forget_notice(run_id, const notice_key&);
  void repeat_notices(run_id, run_state&);
  void log(bool warning, std::string);

  // admission_jobs.cpp: what jobs say, how requests and runs end
  void said(run_id, const begin_run&);
  void said(run_id, const end_run&);
  void said(run_state&, const admit&);
  void said(run_state&, const want&);
  void said(run_state&, const fenced&);
  void said(run_state&, const decision&);
  void said(run_state&, const release_lease&);
  void said(run_state&, const cancel&);
  void said(run_state&, const noted&);
  void apply(request_state&, const decision&);
  void pronounce(request_state&, close_reason, error why = {errc::none, {}, {}, {}}, bool tell = true);
  void end_attempts(request_state&);
  void carry_out_verdict(request_state&);
  void request_over(request_state&);
  void give_up(run_id, run_state&);
  void cancel_unclaimed(run_state&);
  void run_may_be_over(run_id);
  void repeat_end_executors(run_id, run_state&);
  run_state* find_run(run_id);
  request_state* find(const request_id&);
  request_state& make_request(slot_request, std::uint64_t place);

  // admission_agents.cpp: who is a member, what agents say
  void said(const enlist&);
  void said(const entry_report_news&);
  void said(const executor_lost&);
  void said(const executors_ended&);
  void count_list(ledger_node&, const enlist&);
  void acknowledge_soon(boot_id, const attempt_ref&);
  void acknowledge(boot_id);
  void orphan_gone(ledger_node&, const attempt_ref&);
  void declare_dead(boot_id, const std::string& why);
  void vacate(const ledger_node&);
  void wake_node(ledger_node&);
  run_state& host_of(run_id, boot_id);
  bool is_dead_boot(boot_id boot) const { return dead_boots_.contains(boot); }

  // admission_recovery.cpp: gangs of an earlier term
  void recover(request_state&, const go_record&);
  void go_on_ending();
  void came_back(request_state&, attempt_state&, attempt_member&, const ledger_node&, const enlist&);
  void go_on_if_all_back(request_state&, attempt_state&);
  void repeat_recovery(request_state&, attempt_state&);

  // admission_attempts.cpp: the life of an attempt
  void start_attempt(request_state&, std::vector<member>);
  void owe(const attempt_state&, const attempt_member&, const request_state&);
  void ask_all(request_state&, attempt_state&);
  void progress(request_state&, attempt_state&, attempt_member&, const entry_report_news&);
  void step_done(request_state&, attempt_state&);
  void decide(request_state&, attempt_state&);
  void enter_if_all_joined(request_state&, attempt_state&);
  void everyone_joined(request_state&, attempt_state&, boot_id speaker);
  /// May end the attempt, and the request with it: neither may be used afterwards.
  void member_gone(request_state&, attempt_state&, attempt_member&, const entry_report_news&);
  void end_attempt(request_state&, attempt_state&, entry_verb, after_end, end_cause, bool burnt, std::string detail);
  void close_attempt(request_state&, attempt_state&);
  void stop_using(request_state&, attempt_state&, attempt_phase);
  bool attempt_may_be_over(request_state&, attempt_state&);
  void park(request_state&, attempt_id, end_cause, bool burnt, const std::string& detail);
  void tell_agents_later(const request_state&, const attempt_state&);
  void repeat_attempt(request_state&, attempt_state&);

  // admission_queue.cpp: what the queue says is done
  void schedule();
  bool is_short() const { return shortage_.code != errc::none; }
  void carry_out(const queue::start&);
  void carry_out(const queue::ask_back&);
  void carry_out(const queue::evict&);
  void wake_by(const wake&, time_point);
  void wake_request(request_state&);
  void reindex(request_state&);
  void avoid(request_state&, const std::string& node);
  bool may_judge() const;
  std::uint64_t possible(const demand&) const;
  bool deny_if_never_fits(request_state&);
  void judge_all();

  // admission_status.cpp: words for people
  /// `few`: why_few(), once for many requests.
  std::string reason(const request_state&, const std::string& few) const;
  std::string state_name(const request_state&) const;
  std::string why_few() const;
  static std::string words(const demand&);
  void tell_reasons();
  void tell_reason(request_state&, bool always, const std::string& few);

  admission_options options_;
  term_id term_;
  time_point term_began_;
  bool ready_ = false;  // the record of the term is durable
  std::vector<event> early_;
  std::uint64_t appended_ = 0;
  bool sync_now_ = false;
  std::uint64_t attempts_made_ = 0;
  std::uint64_t last_place_ = 0;
  std::deque<gate> gates_;

  ledger ledger_;
  std::set<boot_id> dead_boots_;
  std::set<std::string> drained_;  // names of nodes
  struct lost_node {
    node_size size;
    time_point until;
  };
  std::map<std::string, lost_node> lost_nodes_;  // by name: still counted for *never fits*

  std::unordered_map<run_id, run_state> runs_;
  std::unordered_set<run_id> ended_runs_;
  std::unordered_map<request_id, request_state> requests_;
  queue queue_{options_.queue, ledger_};
  std::vector<request_id> to_answer_;                        // admits of this event
  std::vector<attempt_ref> over_;                            // attempts whose end needs nobody's word any more
  std::map<boot_id, std::set<attempt_ref>> unacknowledged_;  // `finished`, by agent
  bool queue_changed_ = false;
  error shortage_{errc::none, {}, {}, {}};  // of the journal's disk

  deadlines<wake> wakes_;
  time_point now_{};
  effects out_;
};

}  // namespace hydrogen::gang
