#pragma once
// The agent's side of gang admission: owns the slots of its node, one entry per (request, attempt), one executor per
// run.
//
//     ABSENT    -reserve-> RESERVED                with an executor that is up: at once COMMITTED, expiry still on
//     RESERVED  -commit-> STARTING                 expiry, abort, revoke, close, disowned -> ABSENT
//     STARTING  -executor ready-> COMMITTED        failed, too slow, abort, contact lost  -> ABSENT
//     COMMITTED -commit-> (expiry off)             expiry, revoke, contact lost for long  -> DRAINING (lease: ABSENT)
//                                                  abort                                  -> ABSENT
//     COMMITTED -go, or its ranks have joined-> JOINING (lease: -go-> RUNNING)
//     JOINING   -enter-> RUNNING                   revoke, join deadline, contact lost    -> DRAINING
//     RUNNING   -all ranks returned-> ABSENT       revoke, close, contact lost for long   -> DRAINING
//     DRAINING  -executor confirms, or is dead-> ABSENT
//
// Every way into ABSENT leaves a tombstone. A slot is free only when nothing of its entry is left in the executor: what
// the executor may know of (a lease by its go, a gang from its job as soon as it is COMMITTED, unless it is aborted,
// which is said before the Go only) is ended through it (DRAINING), unless it says that all ranks have returned. An
// executor that does not confirm in time is ended, and the other entries of its run with it. Words that were late are
// implied by later ones: a gang's ranks may join, run and return before its go and enter come here.
//
// Pure: no clock, thread, socket. `effects = on(event, now)`; feed `timer{}` at `next_wakeup()` (early or late timers
// do no harm). One thread: the agent's actor. Never fails: what makes no sense is ignored.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/gang/messages.hpp>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

namespace hydrogen::gang {

struct reservation_options {
  std::string node;  // name, unique in the cluster
  std::uint32_t slots = 1;
  duration retry = 500ms;        // what is unanswered is said again after this
  duration expiry = 5s;          // a reservation without commit or go ends: a slow coordinator cannot hoard
  duration start_timeout = 60s;  // executor.start_timeout: from start until it has loaded the library
  duration join_timeout = 30s;   // from go, or ranks that joined, until enter: the slowest rank's rendezvous and task
  duration drain_grace = 2s;     // for user code that was told to stop; then its executor is ended
  duration contact_committed = 10s;  // without coordinator, what is committed is dropped after this
  duration contact_running = 15min;  // and what joins or runs, and every executor, after this
  duration report_after = 50ms;      // that ranks run is for people: not said of what is over sooner
  resources has = {};                // beside the slots
  std::vector<std::string> labels = {};
};

// ---- events --------------------------------------------------------------------------------------------------------

namespace reservation_event {
/// A connection to a coordinator is there: the agent enlists.
struct coordinator_connected {};
struct coordinator_lost {};
struct coordinator_said {
  to_agent message;
};
struct executor_ready {
  run_id run;
  boot_id executor;
  std::string endpoint;  // of its link listener; empty in process
};
/// Its start failed and nothing is left of it; also the confirmation of `end_executor` while it was starting.
struct executor_failed {
  run_id run;
  boot_id executor;
  refusal_kind kind = refusal_kind::executor;  // executor or application
  error why;
};
/// It is dead and nothing is left of it; also the confirmation of `end_executor`.
struct executor_died {
  run_id run;
  boot_id executor;
  std::string cause;
};
struct executor_said {
  boot_id executor;
  from_executor message;
};
struct timer {};
using any = std::variant<coordinator_connected, coordinator_lost, coordinator_said, executor_ready, executor_failed,
                         executor_died, executor_said, timer>;
}  // namespace reservation_event

// ---- effects -------------------------------------------------------------------------------------------------------

namespace reservation_effect {
/// Dropped by the host while there is no connection: it will be repeated.
struct tell_coordinator {
  from_agent message;
};
struct tell_executor {
  boot_id executor;
  to_executor message;
};
/// Answered by executor_ready or executor_failed.
struct start_executor {
  application_ref app;
  boot_id executor;
};
/// Whatever it does; answered by executor_died (or executor_failed while it was starting).
struct end_executor {
  boot_id executor;
};
/// This agent was declared dead and has ended everything: from now on it is this boot. `coordinator_connected` (when a
/// connection under the new boot is there) lets it enlist.
struct new_boot {
  boot_id agent;
};
/// The coordinator has ended the run, and nothing of it is left here: neither are its files needed.
struct run_over {
  run_id run;
};
/// For people.
struct log_line {
  bool warning = false;
  std::string text;
};
using any = std::variant<tell_coordinator, tell_executor, start_executor, end_executor, new_boot, run_over, log_line>;
}  // namespace reservation_effect

class reservation {
 public:
  using event = reservation_event::any;
  using effects = std::vector<reservation_effect::any>;

  /// `boot` is fresh: nothing of an older boot of this node is left.
  reservation(reservation_options, boot_id boot);

  effects on(const event&, time_point now);
  /// When the next `timer` is due; `never` when nothing is.
  time_point next_wakeup() const;

  boot_id boot() const { return boot_; }
  /// The highest term seen.
  term_id term() const { return term_; }
  std::uint32_t slots() const { return options_.slots; }
  std::uint32_t free() const { return options_.slots - taken_.slots; }
  /// Everything held now, by (request, attempt).
  std::vector<entry_report> entries() const;
  /// What that attempt holds of this node's devices.
  std::vector<held_devices> devices_of(const attempt_ref&) const;
  bool is_enlisted() const { return enlisted_; }

 private:
  struct entry {
    attempt_ref ref;
    request_kind kind = request_kind::gang;
    entry_state state = entry_state::reserved;
    application_ref app;
    std::uint32_t slots = 0;
    resources each;
    std::vector<held_devices> devices;
    bool joined = false;         // as its executor said
    bool everyone = false;       // joined, here and elsewhere
    std::string meets;           // in what, as its executor said
    bool returned = false;       // all ranks here, so that nothing is left of it at its executor
    bool told_executor = false;  // the executor may know of it, so it must confirm the end
    boot_id executor;
    time_point deadline = never;  // of the present state
    bool by_itself = false;       // the end was this agent's decision: `gone` is repeated
    end_cause cause = end_cause::none;
    refusal_kind refusal = refusal_kind::none;
    std::optional<error> detail;
  };
  enum class executor_state : std::uint8_t { starting, ready, ending };
  struct executor {
    application_ref app;
    boot_id boot;
    executor_state state = executor_state::starting;
    std::string endpoint;
    time_point deadline = never;
    bool was_ready = false;
    std::optional<error> too_slow;  // it is ended because it did not start in time
  };
  struct unanswered {
    from_agent message;
    time_point next;
  };

  void handle(const reservation_event::coordinator_connected&);
  void handle(const reservation_event::coordinator_lost&);
  void handle(const reservation_event::coordinator_said&);
  void handle(const reservation_event::executor_ready&);
  void handle(const reservation_event::executor_failed&);
  void handle(const reservation_event::executor_died&);
  void handle(const reservation_event::executor_said&);
  void handle(const reservation_event::timer&);

  void order(const follow&);
  void order(const enlisted&);
  void order(const expelled&);
  void order(const reserve&);
  void order(const entry_order&);
  void order(const lost_noted&);
  void order(const end_executors&);

  void commit_entry(entry&);
  void go(entry&);
  void report_later(entry&);
  void report(entry&);
  void accept(entry&, const executor&);
  std::vector<held_devices> take_devices(const resources& each, std::uint32_t slots);
  void begin_joining(entry&);
  void start(const application_ref&);
  void end_executor(executor&);
  void executor_is_gone(run_id, boot_id, refusal_kind, const error& why);
  /// Ends an entry: through the executor if that knows of it. May erase it.
  void end(entry&, bool by_itself, end_cause, refusal_kind = refusal_kind::none, std::optional<error> detail = {});
  /// The entry leaves nothing behind: slots free, tombstone, news. Erases it.
  void bury(attempt_ref);
  void answer_absent(const attempt_ref&, entry_news, refusal_kind);
  bool is_dead(const attempt_ref&) const;
  void tell_news(const entry&, entry_news);
  /// Made in its place: g++ 12 takes a move of the whole variant for a read of all its alternatives, and warns.
  template <class Effect>
  void emit(Effect e) {
    out_.emplace_back().template emplace<Effect>(std::move(e));
  }
  void send(from_agent message) { emit(reservation_effect::tell_coordinator{std::move(message)}); }
  void send_list();
  void adopt(term_id);
  void run_may_be_over(run_id);
  void expulsion_may_be_over();
  void log(bool warning, std::string text) { emit(reservation_effect::log_line{warning, std::move(text)}); }
  entry* find(const attempt_ref&);

  reservation_options options_;
  boot_id boot_;
  term_id term_;
  share taken_;  // by entries
  std::uint64_t executors_started_ = 0;
  // Devices, by kind and number, that an attempt had whose executor died, and the when of it as a count.
  std::map<std::pair<std::string, std::uint32_t>, std::uint64_t> device_failures_;
  std::uint64_t failures_ = 0;
  std::map<attempt_ref, entry> entries_;
  std::unordered_map<request_id, attempt_id> tombstones_;  // the highest dead attempt of each request
  std::map<run_id, executor> executors_;
  std::map<attempt_ref, unanswered> gone_;  // until acknowledge_gone
  std::map<boot_id, unanswered> lost_;      // until lost_noted
  std::set<run_id> ending_runs_;            // end_executors to be answered
  bool connected_ = false;
  bool enlisted_ = false;  // the coordinator answered the list of this connection
  bool expelled_ = false;
  time_point contact_lost_ = never;  // since when there is no coordinator
  std::uint64_t lists_ = 0;
  std::uint64_t first_list_ = 0;  // of this connection
  time_point next_list_ = never;
  time_point now_{};
  effects out_;
};

}  // namespace hydrogen::gang
