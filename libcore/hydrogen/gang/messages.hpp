#pragma once
// The messages of gang admission: between the jobs of a driver and the coordinator, the coordinator and its agents, and
// an agent and the executors of its node. They are the events of the machines in this area and, unchanged, what travels
// between actors and processes. Plain values with `inspect`.
//
// Who speaks: messages of the coordinator carry its term, messages to an agent also the agent boot that they address;
// messages of an agent carry its boot; messages of a job carry the run inside the request id. (request, attempt) names
// a gang attempt, or one lease of a parallel request: each lease has an attempt of its own.
//
// Any message between coordinator, job and agent may be lost, repeated, late or reordered. Who wants something repeats
// it until it is answered (at options' retry intervals); the comment of each message says what its answer is. Messages
// between an agent and an executor arrive in order, and none is lost while both live.

#include <hydrogen/base/bytes.hpp>
#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/error.hpp>
#include <hydrogen/base/hash.hpp>
#include <hydrogen/base/ids.hpp>

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace hydrogen::gang {

// ---- what is asked for and what is given ---------------------------------------------------------------------------

/// The application of a run: what an executor needs to load its library.
struct application_ref {
  run_id run;
  std::string name;        // for people: "digits"
  std::string library;     // path of the library as the driver loaded it; a hint, the hash decides. Empty: in process
  hash128 hash;            // content of the library
  std::uint64_t size = 0;  // bytes
  boot_id driver;          // who serves it,
  std::string endpoint;    // and where; empty when driver and executor are one process
  bool operator==(const application_ref&) const = default;
  template <class I>
  friend auto inspect(I& f, application_ref& x) {
    return f(x.run, x.name, x.library, x.hash, x.size, x.driver, x.endpoint);
  }
};

enum class request_kind : std::uint8_t { parallel, gang };

/// At least `least`, at most `most` slots. Parallel stage: (1, n). Gang: (n, n).
struct slot_request {
  request_id id;
  request_kind kind = request_kind::parallel;
  std::uint32_t least = 1;
  std::uint32_t most = 1;
  application_ref app;
  std::string label;                     // for people: "digits: stage 2, train"
  std::vector<std::string> avoid_nodes;  // failed there before: used only when nothing else fits
  bool operator==(const slot_request&) const = default;
  template <class I>
  friend auto inspect(I& f, slot_request& x) {
    return f(x.id, x.kind, x.least, x.most, x.app, x.label, x.avoid_nodes);
  }
};

/// The part of an attempt that lives on one node. Ranks of a gang are consecutive on a node; a lease has none.
struct member {
  std::string node;
  boot_id agent;
  boot_id executor;      // 0 until committed
  std::string endpoint;  // the executor's listener; empty in process
  std::uint32_t slots = 0;
  std::vector<std::uint32_t> ranks;
  bool operator==(const member&) const = default;
  template <class I>
  friend auto inspect(I& f, member& x) {
    return f(x.node, x.agent, x.executor, x.endpoint, x.slots, x.ranks);
  }
};

/// Why an attempt or a lease ended before its job released it.
enum class end_cause : std::uint8_t {
  none,
  lost,     // an executor, an agent or a whole node died
  failed,   // a rank failed, or the job said `fail`
  restart,  // the coordinator came back and did not keep it; burns no retry
  cancelled,
  expired,  // join deadline, or contact lost for too long
  gave_way  // parked or recalled; burns no retry
};

// ---- job -> coordinator --------------------------------------------------------------------------------------------

/// First word of a driver, and again after each reconnection; repeated until answered by `begun` or `run_over`.
struct begin_run {
  application_ref app;
  template <class I>
  friend auto inspect(I& f, begin_run& x) {
    return f(x.app);
  }
};
/// The driver is done: leases and gangs of the run are revoked, its executors ended. Answered by `run_over` when all
/// of that is confirmed.
struct end_run {
  run_id run;
  template <class I>
  friend auto inspect(I& f, end_run& x) {
    return f(x.run);
  }
};
/// Answered by `admitted` (or `denied`, or `ended` when the request is over); repeated for each open request, parked
/// gangs included, when the coordinator came back. Ignored before `begin_run`.
struct admit {
  slot_request request;
  template <class I>
  friend auto inspect(I& f, admit& x) {
    return f(x.request);
  }
};
/// A parallel request now wants at most `most` slots in all (leases held included), fewer or more than before. Answered
/// by `wanted`; repeated until then, or until the next. Numbered upwards by the job for each request; lower ones are
/// answered without effect.
struct want {
  request_id request;
  std::uint32_t most = 0;
  std::uint64_t number = 0;
  template <class I>
  friend auto inspect(I& f, want& x) {
    return f(x.request, x.most, x.number);
  }
};
/// Answer to `fence`, given only while the job wants the gang to run: no result of an attempt below `attempt` is
/// accepted any more.
struct fenced {
  request_id request;
  attempt_id attempt;
  template <class I>
  friend auto inspect(I& f, fenced& x) {
    return f(x.request, x.attempt);
  }
};
enum class decision_kind : std::uint8_t {
  again,    // a parked gang queues again, at its old place
  park,     // take a gang back that is queued, reserving or committing: an input was lost
  release,  // the gang is over, its outputs are durable (or the job does not want it any more)
  fail      // revoke the live attempt: a rank failed
};
/// Decisions of a job about one gang are numbered upwards; repeated until answered by `decided`.
struct decision {
  request_id request;
  attempt_id attempt;  // the attempt it speaks of; {0,0} for a gang that never had one
  std::uint64_t number = 0;
  decision_kind kind = decision_kind::release;
  std::string cause;
  template <class I>
  friend auto inspect(I& f, decision& x) {
    return f(x.request, x.attempt, x.number, x.kind, x.cause);
  }
};
/// The lease of a parallel request is given back; repeated until `ended` or a later answer shows that it is gone.
struct release_lease {
  request_id request;
  attempt_id attempt;
  template <class I>
  friend auto inspect(I& f, release_lease& x) {
    return f(x.request, x.attempt);
  }
};
/// Ends the request whatever its state; answered by `ended` with end_cause::cancelled when all is confirmed (also when
/// the coordinator does not know the request, or not any more). A parallel stage that is done says this too, after its
/// last task.
struct cancel {
  request_id request;
  template <class I>
  friend auto inspect(I& f, cancel& x) {
    return f(x.request);
  }
};

/// Answer to the coordinator's news that it repeats until then: `leased`, `ended`, `denied`, `recall`, `executor_gone`.
/// Every one of them is to be answered, known or not, each time it comes.
enum class noted_kind : std::uint8_t { leased, ended, denied, recall, executor_gone };
struct noted {
  noted_kind what = noted_kind::ended;
  request_id request;        // executor_gone: only its run counts
  attempt_id attempt;        // leased, ended: that of the message
  boot_id executor;          // executor_gone
  std::uint64_t number = 0;  // recall
  template <class I>
  friend auto inspect(I& f, noted& x) {
    return f(x.what, x.request, x.attempt, x.executor, x.number);
  }
};

// ---- coordinator -> job --------------------------------------------------------------------------------------------

/// Answer to `begin_run`.
struct begun {
  term_id term;
  run_id run;
  template <class I>
  friend auto inspect(I& f, begun& x) {
    return f(x.term, x.run);
  }
};
/// Answer to `end_run`; to any other message of the run: the cluster gave it up (its driver was away for too long).
struct run_over {
  term_id term;
  run_id run;
  template <class I>
  friend auto inspect(I& f, run_over& x) {
    return f(x.term, x.run);
  }
};
/// Answer to `admit`, and again whenever the reason changes. `reason` is empty once it is served. When its term is
/// above that of a lease which the job holds, that lease is over, as by `ended` with end_cause::restart.
struct admitted {
  term_id term;
  request_id request;
  std::string reason;  // "needs 4 slots, 2 free; behind digits: stage 1"
  template <class I>
  friend auto inspect(I& f, admitted& x) {
    return f(x.term, x.request, x.reason);
  }
};
/// Answer to `want`.
struct wanted {
  term_id term;
  request_id request;
  std::uint64_t number = 0;
  template <class I>
  friend auto inspect(I& f, wanted& x) {
    return f(x.term, x.request, x.number);
  }
};
/// The request is over: it can never fit, its library cannot be loaded, or executors failed to start three times.
struct denied {
  term_id term;
  request_id request;
  error why;
  template <class I>
  friend auto inspect(I& f, denied& x) {
    return f(x.term, x.request, x.why);
  }
};
struct fence {
  term_id term;
  request_id request;
  attempt_id attempt;
  template <class I>
  friend auto inspect(I& f, fence& x) {
    return f(x.term, x.request, x.attempt);
  }
};
/// Go is durable: send each rank's task to its executor now. Repeated until all have joined.
struct placed {
  term_id term;
  request_id request;
  attempt_id attempt;
  std::vector<member> members;
  template <class I>
  friend auto inspect(I& f, placed& x) {
    return f(x.term, x.request, x.attempt, x.members);
  }
};
/// All ranks have joined; user code begins. Sent once: a hint.
struct granted {
  term_id term;
  request_id request;
  attempt_id attempt;
  template <class I>
  friend auto inspect(I& f, granted& x) {
    return f(x.term, x.request, x.attempt);
  }
};
/// A lease of a parallel request: `where.slots` slots on one node, until `release_lease` or `ended`. Repeated until
/// `noted`; a job that does not want it answers `release_lease`.
struct leased {
  term_id term;
  request_id request;
  attempt_id attempt;
  member where;
  template <class I>
  friend auto inspect(I& f, leased& x) {
    return f(x.term, x.request, x.attempt, x.where);
  }
};
/// Please hold at most `keep` slots of this request from now on, by releasing leases at task ends: a gang waits.
/// Repeated until `noted`. `count` is what is to be given back, as the coordinator saw it; 0: keep what you have, the
/// wait is over. Only the highest `number` of a term counts.
struct recall {
  term_id term;
  request_id request;
  std::uint32_t count = 0;
  std::uint32_t keep = 0;
  std::uint64_t number = 0;
  template <class I>
  friend auto inspect(I& f, recall& x) {
    return f(x.term, x.request, x.count, x.keep, x.number);
  }
};
/// The attempt (gang or lease) is over and confirmed gone. `burnt`: counts against the retries of the job. Of a lease:
/// repeated until `noted`. Of a gang: it is parked; repeated, ever less often, until the decision `again` or `release`.
/// With end_cause::cancelled the whole request is over, whatever the attempt says ({0,0}: it never had one).
struct ended {
  term_id term;
  request_id request;
  attempt_id attempt;
  end_cause cause = end_cause::none;
  bool burnt = false;
  std::string detail;
  template <class I>
  friend auto inspect(I& f, ended& x) {
    return f(x.term, x.request, x.attempt, x.cause, x.burnt, x.detail);
  }
};
struct decided {
  term_id term;
  request_id request;
  std::uint64_t number = 0;
  template <class I>
  friend auto inspect(I& f, decided& x) {
    return f(x.term, x.request, x.number);
  }
};
/// Blocks that lay there are lost. Also comes for runs that hold no lease there now.
struct executor_gone {
  term_id term;
  run_id run;
  boot_id executor;
  std::string node;
  std::string cause;
  template <class I>
  friend auto inspect(I& f, executor_gone& x) {
    return f(x.term, x.run, x.executor, x.node, x.cause);
  }
};

// ---- coordinator -> agent ------------------------------------------------------------------------------------------

struct attempt_ref {
  request_id request;
  attempt_id attempt;
  auto operator<=>(const attempt_ref&) const = default;
  template <class I>
  friend auto inspect(I& f, attempt_ref& x) {
    return f(x.request, x.attempt);
  }
};
/// Follow this term from now on and send your list (`enlist`): only a list taken under the term counts.
struct follow {
  term_id term;
  boot_id agent;
  template <class I>
  friend auto inspect(I& f, follow& x) {
    return f(x.term, x.agent);
  }
};
/// Answer to `enlist` under this term: the agent is a member. Entries named in `disown` are not kept.
struct enlisted {
  term_id term;
  boot_id agent;
  std::uint64_t list = 0;  // number of the list that this answers
  std::vector<attempt_ref> disown;
  template <class I>
  friend auto inspect(I& f, enlisted& x) {
    return f(x.term, x.agent, x.list, x.disown);
  }
};
/// Its boot was declared dead: end every executor, take a new boot, enlist again.
struct expelled {
  term_id term;
  boot_id agent;
  template <class I>
  friend auto inspect(I& f, expelled& x) {
    return f(x.term, x.agent);
  }
};
struct reserve {
  term_id term;
  boot_id agent;
  attempt_ref ref;
  request_kind kind = request_kind::gang;
  application_ref app;
  std::uint32_t slots = 0;
  std::vector<std::uint32_t> ranks;
  template <class I>
  friend auto inspect(I& f, reserve& x) {
    return f(x.term, x.agent, x.ref, x.kind, x.app, x.slots, x.ranks);
  }
};
/// The verbs about one entry that need nothing else.
enum class entry_verb : std::uint8_t { commit, enter, close, abort, revoke, acknowledge_gone };
struct entry_order {
  term_id term;
  boot_id agent;
  attempt_ref ref;
  entry_verb verb = entry_verb::commit;
  template <class I>
  friend auto inspect(I& f, entry_order& x) {
    return f(x.term, x.agent, x.ref, x.verb);
  }
};
struct go {
  term_id term;
  boot_id agent;
  attempt_ref ref;
  std::vector<member> members;
  template <class I>
  friend auto inspect(I& f, go& x) {
    return f(x.term, x.agent, x.ref, x.members);
  }
};
/// Answer to `executor_lost`.
struct lost_noted {
  term_id term;
  boot_id agent;
  boot_id executor;
  template <class I>
  friend auto inspect(I& f, lost_noted& x) {
    return f(x.term, x.agent, x.executor);
  }
};
/// The run is over (or its driver is gone): end its executors and whatever entries are left of it. Answered by
/// `executors_ended`.
struct end_executors {
  term_id term;
  boot_id agent;
  run_id run;
  template <class I>
  friend auto inspect(I& f, end_executors& x) {
    return f(x.term, x.agent, x.run);
  }
};

// ---- agent -> coordinator ------------------------------------------------------------------------------------------

enum class entry_state : std::uint8_t { absent, reserved, starting, committed, joining, running, finished, draining };

struct entry_report {
  attempt_ref ref;
  request_kind kind = request_kind::gang;
  entry_state state = entry_state::absent;
  std::uint32_t slots = 0;
  bool joined = false;  // every rank on this node has joined
  boot_id executor;
  std::string endpoint;
  template <class I>
  friend auto inspect(I& f, entry_report& x) {
    return f(x.ref, x.kind, x.state, x.slots, x.joined, x.executor, x.endpoint);
  }
};
struct executor_report {
  run_id run;
  boot_id executor;
  template <class I>
  friend auto inspect(I& f, executor_report& x) {
    return f(x.run, x.executor);
  }
};
/// First word of an agent after each connection: who it is and everything it holds. Repeated until answered by
/// `follow`, `enlisted` or `expelled`.
struct enlist {
  boot_id agent;
  std::string node;
  std::uint32_t slots = 0;
  std::uint64_t list = 0;  // number of this list, upwards
  term_id seen;            // the highest term that it follows
  std::vector<entry_report> entries;
  std::vector<executor_report> executors;  // alive, or starting (boot 0)
  template <class I>
  friend auto inspect(I& f, enlist& x) {
    return f(x.agent, x.node, x.slots, x.list, x.seen, x.entries, x.executors);
  }
};
enum class refusal_kind : std::uint8_t {
  none,
  busy,         // no free slot: queue again
  executor,     // its start failed or it died: queue again, counted against the node, at most 3 times
  application,  // the library cannot be used: the request fails at once
  dead          // at or below a tombstone
};
/// What an agent says about one entry; also the answer to a repeated order.
/// `refused`, `gone` and `absent` are final: the entry can never live (again) under this agent boot. `gone` that the
/// agent decided by itself is repeated until `acknowledge_gone`.
enum class entry_news : std::uint8_t { reserved, refused, committed, joined, entered, finished, gone, absent };
struct entry_report_news {
  term_id term;  // the term the agent follows
  boot_id agent;
  attempt_ref ref;
  entry_news news = entry_news::reserved;
  refusal_kind refusal = refusal_kind::none;
  end_cause cause = end_cause::none;
  boot_id executor;
  std::string endpoint;
  error detail;
  bool everyone = false;  // joined: also the ranks of all other members
  template <class I>
  friend auto inspect(I& f, entry_report_news& x) {
    return f(x.term, x.agent, x.ref, x.news, x.refusal, x.cause, x.executor, x.endpoint, x.detail, x.everyone);
  }
};
/// An executor died; repeated until `lost_noted`. Its entries are reported by `gone`, each by itself.
struct executor_lost {
  term_id term;
  boot_id agent;
  run_id run;
  boot_id executor;
  std::string cause;
  template <class I>
  friend auto inspect(I& f, executor_lost& x) {
    return f(x.term, x.agent, x.run, x.executor, x.cause);
  }
};

/// Answer to `end_executors`: no executor and no entry of that run is left here.
struct executors_ended {
  term_id term;
  boot_id agent;
  run_id run;
  template <class I>
  friend auto inspect(I& f, executors_ended& x) {
    return f(x.term, x.agent, x.run);
  }
};

// ---- agent <-> executor --------------------------------------------------------------------------------------------

/// Expect tasks of this attempt. Gang: rank tasks join when `start_joining` has come. Lease: tasks run at once.
struct accept_attempt {
  attempt_ref ref;
  request_kind kind = request_kind::gang;
  std::uint32_t slots = 0;
  std::vector<std::uint32_t> ranks;
  template <class I>
  friend auto inspect(I& f, accept_attempt& x) {
    return f(x.ref, x.kind, x.slots, x.ranks);
  }
};
struct start_joining {
  attempt_ref ref;
  std::vector<member> members;
  template <class I>
  friend auto inspect(I& f, start_joining& x) {
    return f(x.ref, x.members);
  }
};
struct enter_ranks {
  attempt_ref ref;
  template <class I>
  friend auto inspect(I& f, enter_ranks& x) {
    return f(x.ref);
  }
};
/// Abort what runs of this attempt and forget it; answered by `attempt_stopped` when its threads and memory are free.
struct stop_attempt {
  attempt_ref ref;
  error why;
  template <class I>
  friend auto inspect(I& f, stop_attempt& x) {
    return f(x.ref, x.why);
  }
};
struct ranks_joined {
  attempt_ref ref;
  bool everyone = false;  // not only those here: all ranks of the attempt, as they have met in one place
  template <class I>
  friend auto inspect(I& f, ranks_joined& x) {
    return f(x.ref, x.everyone);
  }
};
/// Every rank of this attempt on this executor has returned (their results went to the job), and nothing of it is left
/// there.
struct ranks_returned {
  attempt_ref ref;
  template <class I>
  friend auto inspect(I& f, ranks_returned& x) {
    return f(x.ref);
  }
};
struct attempt_stopped {
  attempt_ref ref;
  template <class I>
  friend auto inspect(I& f, attempt_stopped& x) {
    return f(x.ref);
  }
};

// ---- sets, as they travel ------------------------------------------------------------------------------------------

using from_job = std::variant<begin_run, end_run, admit, want, fenced, decision, release_lease, cancel, noted>;
using to_job = std::variant<begun, run_over, admitted, denied, fence, placed, granted, leased, recall, ended, decided,
                            wanted, executor_gone>;
using from_agent = std::variant<enlist, entry_report_news, executor_lost, executors_ended>;
using to_agent = std::variant<follow, enlisted, expelled, reserve, entry_order, go, lost_noted, end_executors>;
using to_executor = std::variant<accept_attempt, start_joining, enter_ranks, stop_attempt>;
using from_executor = std::variant<ranks_joined, ranks_returned, attempt_stopped>;

}  // namespace hydrogen::gang
