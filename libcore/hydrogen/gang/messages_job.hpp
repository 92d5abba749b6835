#pragma once
// Between the jobs of a driver and the coordinator; the rules are in messages.hpp.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/error.hpp>
#include <hydrogen/gang/request.hpp>

#include <variant>

namespace hydrogen::gang {

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
/// Every one of them is to be answered, known or not, each time it comes. (`hand_back` has no answer but the release.)
enum class noted_kind : std::uint8_t { leased, ended, denied, recall, executor_gone, hand_back };
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
/// Go is written (only `enter` waits until it is durable): send each rank's task to its executor now. Repeated until
/// all have joined.
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
/// Please release this lease when the tasks that run under it are over: its node is drained. Repeated
/// until the lease is over.
struct hand_back {
  term_id term;
  request_id request;
  attempt_id attempt;
  template <class I>
  friend auto inspect(I& f, hand_back& x) {
    return f(x.term, x.request, x.attempt);
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

using from_job = std::variant<begin_run, end_run, admit, want, fenced, decision, release_lease, cancel, noted>;
using to_job = std::variant<begun, run_over, admitted, denied, fence, placed, granted, leased, recall, ended, decided,
                            wanted, executor_gone, hand_back>;

}  // namespace hydrogen::gang
