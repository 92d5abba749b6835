#pragma once
// What the coordinator keeps of a request and of its attempts: the state of the admission machine (admission.hpp),
// which alone changes it. An attempt is a gang attempt or one lease of a parallel request.
//
//     gang:  QUEUED -> attempt: RESERVING -> COMMITTING -> JOINING -> RUNNING -> CLOSING -> over
//                                   |            |            |          |
//                                   + ENDING (abort)          + ENDING (revoke)
//            then QUEUED again | PARKED, as `after_end` says; a final verdict outranks both
//     after a restart, with an open Go: RECOVERING -> JOINING, when all nodes and the job are back and go on with it
//     lease: RESERVING -> COMMITTING -> RUNNING -> CLOSING | ENDING -> over

#include <hydrogen/base/clock.hpp>
#include <hydrogen/gang/messages.hpp>
#include <hydrogen/gang/record.hpp>

#include <compare>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace hydrogen::gang {

/// Place in the queue. A stage that was recalled to nothing stands directly behind the gang that it gave way to.
struct queue_place {
  std::uint64_t place = 0;
  std::uint64_t behind = 0;
  auto operator<=>(const queue_place&) const = default;
};

enum class attempt_phase : std::uint8_t { reserving, committing, joining, running, recovering, closing, ending };

/// How far a member of an attempt is. What it still owes, and so which message is repeated, follows from this and the
/// phase of the attempt. A `ready` one is committed, and may still expire: its executor was up when it was reserved.
/// From `finished` on it holds no slots: its ranks have returned, or it was lost, or its end is confirmed (`gone`).
enum class member_progress : std::uint8_t { asked, reserved, ready, committed, joined, entered, finished, gone };

struct attempt_member {
  member is;
  member_progress progress = member_progress::asked;
  bool holds() const { return progress < member_progress::finished; }
};

enum class after_end : std::uint8_t {
  queue,  // a gang queues again at its place; a lease is forgotten (its request wants another)
  park    // the job is told `ended`; a gang waits for its decision
};

struct attempt_state {
  attempt_ref ref;
  attempt_phase phase = attempt_phase::reserving;
  std::vector<attempt_member> members;
  std::uint32_t slots = 0;
  std::uint32_t gone = 0;        // members that hold no slots any more
  std::uint32_t progressed = 0;  // members that have done what the phase asks for
  bool fenced = false;           // the job raised its fence to this attempt
  bool told_job = false;         // lease: `leased` was sent
  bool go_written = false;       // from joining on
  bool go_durable = false;
  bool permitted = false;    // ranks that meet in one place may enter when the last one comes
  bool told_agents = false;  // go was sent to them
  boot_id speaker;           // the agent that reported everyone as joined: its executor opens the one gate
  entry_verb end_verb = entry_verb::abort;  // of phase ending
  after_end then = after_end::queue;
  end_cause cause = end_cause::none;
  bool burnt = false;
  std::string detail;
  time_point begun{};
  time_point deadline = never;  // of reserving, and of the fence

  bool before_go() const { return phase < attempt_phase::joining; }
  bool over() const { return phase >= attempt_phase::closing; }
};

/// How a request ends for good.
struct verdict {
  close_reason reason = close_reason::cancelled;  // released, cancelled, failed
  error why;                                      // failed
  bool durable = false;
  bool tell = true;  // false: the driver is gone
};

struct request_state {
  slot_request what;
  queue_place at;
  std::uint64_t submitted = 0;  // place by submission
  bool confirmed = true;        // false: replayed, and its job has not repeated it yet
  bool parked = false;
  bool requeuing = false;    // `again` accepted, its record is not durable yet
  attempt_id last_attempt;   // of a gang: the live one, or the one before
  bool last_had_go = false;  // and whether a Go of it was written that is not closed
  std::map<attempt_id, attempt_state> attempts;
  std::optional<verdict> final;

  std::uint64_t decision = 0;     // the highest number accepted
  bool decision_answered = true;  // false: its record is not durable yet

  std::uint64_t want_number = 0;       // of the last `want` taken
  std::uint32_t held = 0;              // slots of attempts that are not over
  std::uint32_t keep = UINT32_MAX;     // while recalled: what it may hold
  std::uint64_t recalls = 0;           // number of the last recall
  time_point recall_until = never;     // the gate's deadline
  time_point not_before{};             // after a refusal: placed again no earlier
  std::set<boot_id> failed_executors;  // one after the other, without success between
  std::set<std::string> avoid;         // nodes: what the job asked for, and where its attempts were lost
  std::string told_reason;
  bool told = false;  // the job had its first `admitted`

  bool is_gang() const { return what.kind == request_kind::gang; }
  /// Holds what it needs to be served.
  bool served() const { return held >= what.least; }
};

}  // namespace hydrogen::gang
