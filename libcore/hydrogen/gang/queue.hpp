#pragma once
// Who goes next: the policy of the coordinator's queue. It looks at requests and at the account of slots, and says one
// step at a time what should be done; admission.hpp does it.
//
// Order: by priority, then by submission. The first request that does not fit is the *head*. It gets room by recalling
// slots from parallel stages (the newest first, none of higher priority, and only if that suffices), else by evicting
// whole gangs of lower priority (the lowest and newest first, only if that makes room, never for a retry).
//
// Others pass the head only while that cannot delay it, as far as can be known:
//   - a gang that is expected to be over before the head was first expected to start (EASY backfill: Lifka, "The
//     ANL/IBM SP scheduling system", JSSPP 1995; with expectations instead of user estimates, see run_times.hpp:
//     the longer one for who would pass, the shorter one for those the head waits for),
//   - what takes only slots that the head leaves, or cannot use,
//   - a parallel stage, which hands its slots back at task ends, as long as recalling would not serve the head.
// Expectations may be wrong. So once the head has waited for `ageing`, or past the start that was first expected for
// it, or was passed `most_passes` times, only slots that it leaves or cannot use are given to others: what becomes free
// is held for it, for `gate_deadline` at most.
//
// Pure: no clock, no messages. One thread: the coordinator's actor.

#include <hydrogen/gang/outlook.hpp>
#include <hydrogen/gang/run_times.hpp>

#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

namespace hydrogen::gang {

enum class passing : std::uint8_t {
  none,    // first in, first out
  safely,  // as above
  freely   // whatever fits: wide gangs may starve. For comparison
};

struct queue_options {
  passing pass = passing::safely;
  duration ageing = 5min;
  std::uint32_t most_passes = 1000;
  duration gate_deadline = 10min;       // slots held for the head, or recalled for it
  bool evict = true;                    // lower priorities give way
  std::uint32_t application_slots = 0;  // most that one application may hold; 0: any number
  std::uint32_t looks = 64;             // shapes of requests that one decision looks at
};

class queue {
 public:
  /// Reads the account; both must outlive it.
  queue(const queue_options& options, const ledger& account) : options_(options), account_(account) {}

  /// To be said after each change of a request and of its attempts, and when its `not_before` has come. `open`: it may
  /// be served (it is not final, parked, away, ...).
  void update(request_state&, bool open, time_point now);
  void forget(request_state&);
  struct start {
    request_state* who;
    std::vector<member> where;  // of a gang; of a parallel stage: one lease
  };
  /// Recall: the stage should hold no more than `keep`; UINT32_MAX: the recall is over.
  struct ask_back {
    request_state* who;
    std::uint32_t keep;
  };
  struct evict {
    std::vector<request_state*> who;
    const request_state* waits;
  };
  using step = std::variant<std::monostate, start, ask_back, evict>;
  /// What to do next; to be asked again once it is done, until there is nothing.
  step next(time_point now);
  /// When slots are held no longer; `never`: none are.
  time_point next_wakeup() const;

  /// The request in front, for which others wait. Null: nobody waits, or each for its own sake.
  const request_state* head() const { return head_; }
  bool holds(const request_state& head, time_point now) const;
  /// Waiting requests in order, at most `most`.
  std::vector<request_state*> waiting(std::size_t most) const;
  std::size_t waits() const { return line_.size(); }
  std::size_t waits_of(const std::string& application) const;
  /// What the application holds is as much as it may.
  bool at_limit(const request_state&) const;
  std::uint32_t held_by(const std::string& application) const;
  /// Slots that were asked back and did not come yet.
  std::uint32_t recalled() const;
  const queue_options& options() const { return options_; }

 private:
  struct use {
    std::uint32_t held = 0;
    std::size_t waits = 0;
  };
  using line = std::map<queue_place, request_state*>;

  void take_out(request_state&);
  void put_in(request_state&, bool open);
  step serve(request_state&, std::uint32_t most = UINT32_MAX) const;
  step serve_elsewhere(request_state&, const request_state& head) const;
  step make_room(request_state& head);
  step evict_for(const request_state& head, const outlook& coming) const;
  step pass(request_state&, const request_state& head) const;
  step grant_wishes(const request_state* head) const;
  step lift();
  void become_head(request_state&);
  void expect_start(request_state& head);
  void overdue();
  std::uint32_t recallable(const request_state& stage, const request_state& head) const;
  void add_leases(outlook&, const request_state& stage, std::uint32_t slots) const;
  std::set<std::string> avoided(const request_state&) const;
  std::uint32_t allowed(const request_state&) const;
  std::uint32_t wanted_by_others(const request_state&) const;

  const queue_options& options_;
  const ledger& account_;
  run_times times_;
  line line_;                                                             // unserved
  line wishing_;                                                          // parallel, served, want more
  line holding_;                                                          // parallel with leases
  std::map<std::pair<time_point, queue_place>, request_state*> running_;  // gangs, by expected end
  std::unordered_map<std::string, line> shapes_;                          // the unserved that need the same
  line fronts_;                                                           // the first of each shape
  std::unordered_map<std::string, use> applications_;
  std::map<std::int32_t, std::uint32_t> priorities_;  // of gangs that run
  std::map<request_id, request_state*> recalled_;
  std::map<request_id, request_state*> to_lift_;
  request_state* head_ = nullptr;
  const request_state* recalled_for_ = nullptr;
  // Of the head, as of this step:
  time_point start_ = never;  // when it is expected to have room; `never`: not known
  bool room_comes_ = false;   // what is being given back or can be recalled suffices
  std::uint64_t spare_ = 0;   // slots it leaves then
  time_point now_{};
};

}  // namespace hydrogen::gang
