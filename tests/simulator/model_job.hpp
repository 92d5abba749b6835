#pragma once
// A driver with a few requests, by the protocol's rules for jobs.

#include "simulation.hpp"

namespace hydrogen::gang::testing {

enum class outcome : std::uint8_t { open, done, failed, cancelled };

struct model_gang {
  slot_request what;
  bool admitted = false;  // answered in this connection
  outcome end = outcome::open;
  attempt_id fence;
  bool fence_open = false;  // results of `fence` are accepted
  std::map<std::uint32_t, boot_id> results;
  std::set<std::uint32_t> failed_ranks;
  std::vector<member> placed;
  std::optional<decision> pending;
  std::uint64_t decisions = 0;
  attempt_id last_ended;
  attempt_id failing;  // said to have failed
  bool wants_parked = false;
  bool cancelling = false;
  bool released = false;
  std::uint32_t burnt_in_peace = 0;  // attempts lost since the faults stopped
  /// Ranks of the attempt that is placed.
  std::uint32_t width() const {
    std::uint32_t ranks = 0;
    for (const auto& m : placed) ranks += m.slots;
    return ranks;
  }
};

struct model_lease {
  member where;
  std::set<std::uint32_t> tasks;  // partitions that are there, running or waiting
  bool releasing = false;
  bool leaving = false;  // its node is drained
};

struct model_stage {
  slot_request what;
  bool admitted = false;
  outcome end = outcome::open;
  std::uint32_t to_do = 0;
  std::uint32_t running = 0;  // or waiting at an executor
  std::uint32_t given = 0;    // partitions: each is given once, what has to be done again is another one
  bool cancelling = false;
  term_id term;
  std::uint32_t keep = UINT32_MAX;
  std::uint64_t recall_number = 0;
  std::uint64_t want_number = 0;
  bool want_answered = true;
  std::map<attempt_id, model_lease> leases;
};

struct model_job {
  simulation& sim;
  application_ref app;
  bool alive = true;
  bool connected = false;
  std::uint64_t connection = 0;  // number of the last one
  bool begun = false;
  bool was_away = false;  // long enough, perhaps, for the cluster to cancel what it had
  bool gave_up = false;   // the cluster gave the run up
  bool ending = false;    // end_run is repeated
  bool ended = false;
  std::map<request_id, model_gang> gangs;
  std::map<request_id, model_stage> stages;
  std::set<attempt_ref> ended_leases;

  model_job(simulation& s, application_ref a) : sim(s), app(std::move(a)) {}

  void tick();
  void connect();
  void said(const to_job&);
  void cancel_something();
  void cancel_everything();
  void park_something();
  bool settled() const;
  std::string open_requests() const;

  void rank_returned(const attempt_ref&, std::uint32_t rank, boot_id executor, bool good);
  void give_task(const attempt_ref&, boot_id executor, std::uint32_t partition);
  void task_refused(const attempt_ref&, boot_id executor, std::uint32_t partition);
  void lease_task_done(const attempt_ref&, std::uint32_t partition);

 private:
  void send(from_job m) { sim.job_to_coordinator(app.run, std::move(m)); }
  void decide(model_gang&, decision_kind, attempt_id);
  void send_tasks(const model_gang&);
  task_id task_of(const request_id&, std::uint32_t partition) const;
  void after_end(request_id, attempt_id);
  void use(model_stage&);
  void take_back(model_stage&, model_lease&);
  void follow_term(model_stage&, term_id);
  void drop_lease(model_stage&, attempt_id);
};

}  // namespace hydrogen::gang::testing
