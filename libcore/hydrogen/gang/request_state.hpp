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

#include <algorithm>
#include <compare>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace hydrogen::gang {

/// Place in the queue: higher priorities first, then by submission. A stage that was recalled to nothing stands
/// directly behind the gang that it gave way to.
struct queue_place {
  std::int64_t below = 0;  // the priority, negated
  std::uint64_t place = 0;
  std::uint64_t behind = 0;
  auto operator<=>(const queue_place&) const = default;
};

/// What the queue (queue.hpp) keeps with a request; it alone changes it.
struct queue_mark {
  std::string kind;         // of gangs that are likely to run as long, and of one application
  bool unserved = false;    // waits for what it needs
  bool wishing = false;     // served, and would take more
  bool holding = false;     // a stage with leases
  bool running = false;     // a gang with a Go
  time_point ends{};        // running: when it may be over, at the earliest that is likely; `never`: not known
  time_point began{};       // running
  std::string application;  // that it is counted for
  std::string shape;        // unserved: those that need the same
  std::uint32_t held = 0;   // as counted for its application
  time_point head_since = never;
  time_point hold_from = never;  // as the head: from then on nothing passes that could delay it
  std::uint32_t passed_by = 0;   // requests behind it that were served while it was the head
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
  std::string meets;         // in what its ranks meet, once they have joined
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

  std::uint64_t want_number = 0;            // of the last `want` taken
  std::uint32_t held = 0;                   // slots of attempts that are not over
  std::uint32_t keep = UINT32_MAX;          // while recalled: what it may hold
  std::uint64_t recalls = 0;                // number of the last recall
  time_point recall_until = never;          // the gate's deadline
  time_point not_before{};                  // after a refusal: placed again no earlier
  std::set<boot_id> failed_executors;       // one after the other, without success between
  std::map<std::string, time_point> avoid;  // nodes the job asked to avoid, or where its attempts were lost, until then
  bool retried = false;                     // an attempt with a Go is over
  queue_mark mark;
  std::string told_reason;
  bool told = false;  // the job had its first `admitted`

  bool is_gang() const { return what.kind == request_kind::gang; }
  /// Of a gang: the attempt that holds its slots. Null: none does.
  const attempt_state* live_attempt() const {
    if (!is_gang() || attempts.empty() || attempts.begin()->second.over()) return nullptr;
    return &attempts.begin()->second;
  }
  /// Slots that it lacks to be served.
  std::uint32_t need() const {
    if (is_gang()) return what.least;
    const auto least = std::min(what.least, what.most);
    return least > held ? least - held : 0;
  }
};

}  // namespace hydrogen::gang
