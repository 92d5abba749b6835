#pragma once
// The rows of the job machine's tables: processes, nodes, requests, leases, partitions, stages, gangs. Plain structs
// that refer to each other by index; `core` keeps them consistent. Private to the job machine.

#include <hydrogen/gang/messages.hpp>
#include <hydrogen/job/task_queue.hpp>
#include <hydrogen/plan/graph.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace hydrogen::job {

inline constexpr std::uint32_t no_index = UINT32_MAX;

struct place {
  std::uint32_t stage = 0;
  std::uint32_t partition = 0;
};

/// A process that holds blocks or runs tasks: an executor, or the driver.
struct process_record {
  data::process_ref ref;
  std::uint32_t node = no_index;
  bool gone = false;
  std::string end;  // how it ended, once it is gone
  time_point unreachable_since = never;
  time_point suspect_until{};  // no task is sent there before
  std::vector<place> held;     // whose outputs lie there; may name some that have gone since
};

struct node_record {
  std::string name;
  std::uint32_t failures = 0;  // since `counted_from`
  time_point counted_from{};
  time_point excluded_until{};
};

enum class request_state : std::uint8_t { asked, admitted, closing, closed };

/// A request for slots of a parallel stage.
struct request_record {
  request_id id;
  std::uint32_t stage = 0;
  std::uint32_t most = 0;   // slots wanted in all
  std::uint64_t wants = 0;  // number of the last `want`
  bool want_open = false;   // it is unanswered
  time_point want_sent_at{};
  request_state state = request_state::asked;
  time_point sent_at{};  // of the last message that wants an answer
  time_point waiting_since{};
  std::uint32_t keep = no_index;  // slots that it may hold after a recall
  term_id recall_term;
  std::uint64_t recall_number = 0;
  struct known_lease {
    attempt_id attempt;
    std::uint32_t lease = no_index;
  };
  std::vector<known_lease> leases;  // all that it ever had
};

struct in_flight {
  std::uint32_t partition = 0;
  std::uint32_t attempt = 0;
  time_point resend_at{};
};

enum class lease_state : std::uint8_t {
  open,
  closing,   // recalled: empties at task ends
  released,  // `release_lease` was sent
  over       // ended; late results may still come
};

struct lease_record {
  std::uint32_t request = 0;
  std::uint32_t stage = 0;
  attempt_id attempt;
  std::uint32_t process = 0;
  std::uint32_t node = 0;
  std::uint32_t slots = 0;
  lease_state state = lease_state::open;
  bool leaving = false;        // its node is drained: it closes whatever becomes of a recall
  time_point sent_at{};        // of `release_lease`
  time_point blocked_until{};  // no task is sent before
  time_point refused_since = never;
  time_point late_until = never;  // when it is over: until then its results are accepted
  std::vector<in_flight> tasks;   // in the order sent: the first `slots` are taken to run
};

enum class task_status : std::uint8_t {
  idle,     // not needed (yet)
  waiting,  // needed; an input is not there
  ready,    // in the queue of its stage
  sent,     // at an executor; of a barrier stage: its gang was placed
  done      // `outputs` lie in `home`
};

struct partition_record {
  task_status status = task_status::idle;
  std::uint16_t failures = 0;
  std::uint16_t interruptions = 0;
  std::uint16_t recomputes = 0;
  std::uint32_t attempt = no_index;  // of the task sent last
  std::uint32_t next_attempt = 0;
  std::uint32_t lease = no_index;  // under which it was sent
  std::uint32_t home = no_index;   // process of the outputs
  std::uint32_t failed_node = no_index;
  std::uint32_t failed_process = no_index;
  std::vector<data::block_info> outputs;  // by bucket, then in the order made
};

struct rank_record {
  std::uint32_t process = no_index;
  std::uint32_t node = no_index;
  bool done = false;     // its result came
  bool copying = false;  // `copy_blocks` is unanswered
  bool durable = false;  // copied
  time_point resend_at{};
  time_point refused_since = never;
  std::vector<data::block_info> outputs;  // where it ran
  std::vector<data::block_info> copies;
  std::uint32_t copies_at = no_index;
};

/// Pieces of a checkpoint that not all ranks have reported.
struct open_checkpoint {
  bool replicated = false;
  std::uint32_t reported = 0;
  std::vector<std::optional<hash128>> pieces;
};

struct gang_record {
  request_id id;
  std::uint32_t next_k = 0;
  bool open = false;      // the coordinator has, or may have, the request
  bool admitted = false;  // and said so
  bool wanted = false;    // inputs are complete: fences are answered
  bool parked = false;    // the coordinator waits for `again`
  bool closing = false;   // cancelled at the end of the job
  attempt_id floor;       // at or below: over
  attempt_id attempt;     // fenced and not over; {0,0}: none
  attempt_id last;        // the last one heard of: what decisions speak of
  bool placed = false;
  bool granted = false;
  bool failing = false;     // `fail` was said about `attempt`
  bool spared = false;      // it fails for a lost input: burns no retry
  bool ended = false;       // over at the coordinator while copies of complete results are on the way
  gang::ended end;          // what it said then
  std::uint32_t tries = 0;  // Go's so far
  std::uint32_t burnt = 0;
  std::uint64_t copied_bytes = 0;  // of this attempt, asked to be copied
  std::vector<rank_record> ranks;  // of the attempt that was placed: their number is its world size
  std::uint32_t width = 0;         // of the attempt that made the output; made again, it has as many. 0: never made
  comm::gang_table members;        // as placed
  std::optional<task_failure> failure;     // the one that explains the attempt best
  std::uint64_t number = 0;                // of decisions
  std::optional<gang::decision> decision;  // unanswered
  time_point sent_at{};
  time_point waiting_since{};
  std::optional<exec::restore_point> restore;     // last complete checkpoint
  std::optional<exec::restore_point> replicated;  // last complete one that any world size can restore
  std::optional<exec::restore_point> fixed;       // what the live attempt restores, fixed when it was placed
  std::map<std::uint64_t, open_checkpoint> checkpoints;
};

/// `release` of a gang whose outputs are durable, until the coordinator has answered.
struct open_release {
  gang::decision what;
  time_point sent_at{};
};

struct consumer_record {
  std::uint32_t stage = 0;
  plan::input_kind kind = plan::input_kind::range;
};

struct stage_record {
  plan::stage what;
  std::uint32_t index = 0;
  exec::operator_chain chain;
  std::string label;  // "digits: stage 2, train"
  std::vector<partition_record> parts;
  std::vector<consumer_record> consumers;
  std::uint32_t absent = 0;  // partitions that are not done
  std::uint32_t waiting = 0;
  std::uint32_t ready = 0;
  std::uint32_t sent = 0;
  std::uint32_t failures = 0;           // of tasks or of gang attempts
  std::uint32_t answer_with = 0;        // bytes of outputs of a task that come with its answer
  std::string reason;                   // the coordinator's, while it waits for slots
  duration typical = duration::zero();  // how long its tasks ran, the last ones counting most; zero: not known
  bool all_required = false;
  bool dirty = false;
  std::uint32_t next_k = 0;
  std::vector<std::uint32_t> requests;  // all, by k
  std::vector<std::uint32_t> leases;    // open or closing
  task_queue queue;
  std::vector<std::uint32_t> retries;  // ready tasks that failed before, so are choosy
  gang_record gang;

  bool is_gang() const { return what.kind == plan::stage_kind::barrier; }
  std::uint32_t need() const { return ready + sent; }
};

}  // namespace hydrogen::job
