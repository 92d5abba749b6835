#pragma once
// The messages of gang admission: between the jobs of a driver and the coordinator, the coordinator and its agents, and
// an agent and the executors of its node. They are the events of the machines in this area and, unchanged, what travels
// between actors and processes. Plain values with `inspect`.
//
// Who speaks: messages of the coordinator carry its term, messages to an agent also the agent boot that they address;
// messages of an agent carry its boot; messages of a job carry the run inside the request id. (request, attempt) names
// a gang attempt, or one lease of a parallel request: each lease has an attempt of its own.

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
  std::string name;          // for people: "digits"
  std::string library;       // path of the library as the driver loaded it; a hint, the hash decides. Empty: in process
  hash128 hash;              // content of the library
  std::uint64_t size = 0;    // bytes
  boot_id driver;            // who serves it,
  std::string endpoint;      // and where; empty when driver and executor are one process
  bool operator==(const application_ref&) const = default;
  template <class I> friend auto inspect(I& f, application_ref& x) {
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
  template <class I> friend auto inspect(I& f, slot_request& x) {
    return f(x.id, x.kind, x.least, x.most, x.app, x.label, x.avoid_nodes);
  }
};

/// The part of an attempt that lives on one node. Ranks of a gang are consecutive on a node; a lease has none.
struct member {
  std::string node;
  boot_id agent;
  boot_id executor;           // 0 until committed
  std::string endpoint;       // the executor's listener; empty in process
  std::uint32_t slots = 0;
  std::vector<std::uint32_t> ranks;
  bool operator==(const member&) const = default;
  template <class I> friend auto inspect(I& f, member& x) {
    return f(x.node, x.agent, x.executor, x.endpoint, x.slots, x.ranks);
  }
};

/// Why an attempt or a lease ended before its job released it.
enum class end_cause : std::uint8_t {
  none,
  lost,        // an executor, an agent or a whole node died
  failed,      // a rank failed, or the job said `fail`
  restart,     // the coordinator came back and did not keep it; burns no retry
  cancelled,
  expired,     // join deadline, or contact lost for too long
  gave_way     // parked or recalled; burns no retry
};

// ---- job -> coordinator --------------------------------------------------------------------------------------------

/// First word of a driver, repeated after each reconnection.
struct begin_run {
  application_ref app;
  template <class I> friend auto inspect(I& f, begin_run& x) { return f(x.app); }
};
/// The driver is done: leases and gangs of the run are revoked, its executors ended.
struct end_run {
  run_id run;
  template <class I> friend auto inspect(I& f, end_run& x) { return f(x.run); }
};
struct admit {
  slot_request request;
  template <class I> friend auto inspect(I& f, admit& x) { return f(x.request); }
};
/// A parallel request now wants at most `most` slots in all (leases held included).
struct want {
  request_id request;
  std::uint32_t most = 0;
  template <class I> friend auto inspect(I& f, want& x) { return f(x.request, x.most); }
};
/// Answer to `fence`: no result of an attempt below `attempt` is accepted any more.
struct fenced {
  request_id request;
  attempt_id attempt;
  template <class I> friend auto inspect(I& f, fenced& x) { return f(x.request, x.attempt); }
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
  template <class I> friend auto inspect(I& f, decision& x) { return f(x.request, x.attempt, x.number, x.kind, x.cause); }
};
/// The lease of a parallel request is given back; repeated until `ended` or a later answer shows that it is gone.
struct release_lease {
  request_id request;
  attempt_id attempt;
  template <class I> friend auto inspect(I& f, release_lease& x) { return f(x.request, x.attempt); }
};
/// Ends the request whatever its state; answered by `ended` with end_cause::cancelled when all is confirmed.
/// A parallel stage that is done says this too, after its last task.
struct cancel {
  request_id request;
  template <class I> friend auto inspect(I& f, cancel& x) { return f(x.request); }
};

// ---- coordinator -> job --------------------------------------------------------------------------------------------

/// Answer to `admit`, and again whenever the reason changes. `reason` is empty once it is served.
struct admitted {
  term_id term;
  request_id request;
  std::string reason;  // "needs 4 slots, 2 free; behind digits: stage 1"
  template <class I> friend auto inspect(I& f, admitted& x) { return f(x.term, x.request, x.reason); }
};
/// The request is over: it can never fit, its library cannot be loaded, or executors failed to start three times.
struct denied {
  term_id term;
  request_id request;
  error why;
  template <class I> friend auto inspect(I& f, denied& x) { return f(x.term, x.request, x.why); }
};
struct fence {
  term_id term;
  request_id request;
  attempt_id attempt;
  template <class I> friend auto inspect(I& f, fence& x) { return f(x.term, x.request, x.attempt); }
};
/// Go is durable: send each rank's task to its executor now.
struct placed {
  term_id term;
  request_id request;
  attempt_id attempt;
  std::vector<member> members;
  template <class I> friend auto inspect(I& f, placed& x) { return f(x.term, x.request, x.attempt, x.members); }
};
/// All ranks have joined; user code begins.
struct granted {
  term_id term;
  request_id request;
  attempt_id attempt;
  template <class I> friend auto inspect(I& f, granted& x) { return f(x.term, x.request, x.attempt); }
};
/// A lease of a parallel request: `where.slots` slots on one node, until `release_lease` or `ended`.
struct leased {
  term_id term;
  request_id request;
  attempt_id attempt;
  member where;
  template <class I> friend auto inspect(I& f, leased& x) { return f(x.term, x.request, x.attempt, x.where); }
};
/// Please give back leases until `count` slots are free of this request, at task ends: a gang waits.
struct recall {
  term_id term;
  request_id request;
  std::uint32_t count = 0;
  template <class I> friend auto inspect(I& f, recall& x) { return f(x.term, x.request, x.count); }
};
/// The attempt (gang or lease) is over and confirmed gone. `burnt`: counts against the retries of the job.
struct ended {
  term_id term;
  request_id request;
  attempt_id attempt;
  end_cause cause = end_cause::none;
  bool burnt = false;
  std::string detail;
  template <class I> friend auto inspect(I& f, ended& x) {
    return f(x.term, x.request, x.attempt, x.cause, x.burnt, x.detail);
  }
};
struct decided {
  term_id term;
  request_id request;
  std::uint64_t number = 0;
  template <class I> friend auto inspect(I& f, decided& x) { return f(x.term, x.request, x.number); }
};
/// Blocks that lay there are lost. Also comes for runs that hold no lease there now.
struct executor_gone {
  term_id term;
  run_id run;
  boot_id executor;
  std::string node;
  std::string cause;
  template <class I> friend auto inspect(I& f, executor_gone& x) { return f(x.term, x.run, x.executor, x.node, x.cause); }
};

// ---- coordinator -> agent ------------------------------------------------------------------------------------------

/// Answer to `enlist`: the agent is a member under this term. Entries named in `disown` are not kept.
struct attempt_ref {
  request_id request;
  attempt_id attempt;
  auto operator<=>(const attempt_ref&) const = default;
  template <class I> friend auto inspect(I& f, attempt_ref& x) { return f(x.request, x.attempt); }
};
struct enlisted {
  term_id term;
  boot_id agent;
  std::vector<attempt_ref> disown;
  template <class I> friend auto inspect(I& f, enlisted& x) { return f(x.term, x.agent, x.disown); }
};
/// Its boot was declared dead: end every executor, take a new boot, enlist again.
struct expelled {
  term_id term;
  boot_id agent;
  template <class I> friend auto inspect(I& f, expelled& x) { return f(x.term, x.agent); }
};
struct reserve {
  term_id term;
  boot_id agent;
  attempt_ref ref;
  request_kind kind = request_kind::gang;
  application_ref app;
  std::uint32_t slots = 0;
  std::vector<std::uint32_t> ranks;
  template <class I> friend auto inspect(I& f, reserve& x) {
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
  template <class I> friend auto inspect(I& f, entry_order& x) { return f(x.term, x.agent, x.ref, x.verb); }
};
struct go {
  term_id term;
  boot_id agent;
  attempt_ref ref;
  std::vector<member> members;
  template <class I> friend auto inspect(I& f, go& x) { return f(x.term, x.agent, x.ref, x.members); }
};
/// The run is over (or its driver is gone): end its executors and whatever entries are left of it.
struct end_executors {
  term_id term;
  boot_id agent;
  run_id run;
  template <class I> friend auto inspect(I& f, end_executors& x) { return f(x.term, x.agent, x.run); }
};

// ---- agent -> coordinator ------------------------------------------------------------------------------------------

enum class entry_state : std::uint8_t { absent, reserved, starting, committed, joining, running, finished, draining };

struct entry_report {
  attempt_ref ref;
  entry_state state = entry_state::absent;
  std::uint32_t slots = 0;
  bool joined = false;     // every rank on this node has joined
  boot_id executor;
  std::string endpoint;
  template <class I> friend auto inspect(I& f, entry_report& x) {
    return f(x.ref, x.state, x.slots, x.joined, x.executor, x.endpoint);
  }
};
/// First word of an agent, repeated after each reconnection: who it is and everything it holds.
struct enlist {
  boot_id agent;
  std::string node;
  std::uint32_t slots = 0;
  term_id seen;  // the highest term that it follows
  std::vector<entry_report> entries;
  template <class I> friend auto inspect(I& f, enlist& x) { return f(x.agent, x.node, x.slots, x.seen, x.entries); }
};
enum class refusal_kind : std::uint8_t {
  none,
  busy,         // no free slot: queue again
  executor,     // its start failed or it died: queue again, counted against the node, at most 3 times
  application,  // the library cannot be used: the request fails at once
  dead          // at or below a tombstone
};
/// What an agent says about one entry; also the answer to a repeated order.
enum class entry_news : std::uint8_t { reserved, refused, committed, joined, finished, gone, absent };
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
  template <class I> friend auto inspect(I& f, entry_report_news& x) {
    return f(x.term, x.agent, x.ref, x.news, x.refusal, x.cause, x.executor, x.endpoint, x.detail);
  }
};
struct executor_lost {
  term_id term;
  boot_id agent;
  run_id run;
  boot_id executor;
  std::string cause;
  template <class I> friend auto inspect(I& f, executor_lost& x) { return f(x.term, x.agent, x.run, x.executor, x.cause); }
};

// ---- agent <-> executor --------------------------------------------------------------------------------------------

/// Expect tasks of this attempt. Gang: rank tasks join when `start_joining` has come. Lease: tasks run at once.
struct accept_attempt {
  attempt_ref ref;
  request_kind kind = request_kind::gang;
  std::uint32_t slots = 0;
  std::vector<std::uint32_t> ranks;
  template <class I> friend auto inspect(I& f, accept_attempt& x) { return f(x.ref, x.kind, x.slots, x.ranks); }
};
struct start_joining {
  attempt_ref ref;
  std::vector<member> members;
  template <class I> friend auto inspect(I& f, start_joining& x) { return f(x.ref, x.members); }
};
struct enter_ranks {
  attempt_ref ref;
  template <class I> friend auto inspect(I& f, enter_ranks& x) { return f(x.ref); }
};
/// Abort what runs of this attempt and forget it; answered by `attempt_stopped` when its threads and memory are free.
struct stop_attempt {
  attempt_ref ref;
  error why;
  template <class I> friend auto inspect(I& f, stop_attempt& x) { return f(x.ref, x.why); }
};
struct ranks_joined {
  attempt_ref ref;
  template <class I> friend auto inspect(I& f, ranks_joined& x) { return f(x.ref); }
};
/// Every rank of this attempt on this executor has returned (their results went to the job).
struct ranks_returned {
  attempt_ref ref;
  template <class I> friend auto inspect(I& f, ranks_returned& x) { return f(x.ref); }
};
struct attempt_stopped {
  attempt_ref ref;
  template <class I> friend auto inspect(I& f, attempt_stopped& x) { return f(x.ref); }
};

// ---- sets, as they travel ------------------------------------------------------------------------------------------

using from_job = std::variant<begin_run, end_run, admit, want, fenced, decision, release_lease, cancel>;
using to_job = std::variant<admitted, denied, fence, placed, granted, leased, recall, ended, decided, executor_gone>;
using from_agent = std::variant<enlist, entry_report_news, executor_lost>;
using to_agent = std::variant<enlisted, expelled, reserve, entry_order, go, end_executors>;
using to_executor = std::variant<accept_attempt, start_joining, enter_ranks, stop_attempt>;
using from_executor = std::variant<ranks_joined, ranks_returned, attempt_stopped>;

}  // namespace hydrogen::gang
