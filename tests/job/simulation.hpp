#pragma once
// A whole cluster in one thread and no real time: job machines, the real admission machine with its journal, a real
// reservation machine per node, and model executors that compute with numbers instead of rows. Messages are dropped,
// repeated, delayed and reordered; executors, nodes, connections and the coordinator die and come back. Everything
// follows from the seed. What goes wrong is thrown as `broken`.
//
// A block's content is a number that depends on the task and on its input numbers in order, so a result is right only
// if every input was there once, in order, of the right producer.

#include <hydrogen/base/random.hpp>
#include <hydrogen/gang/admission.hpp>
#include <hydrogen/gang/reservation.hpp>
#include <hydrogen/job/machine.hpp>

#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace hydrogen::job::test {

struct broken : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using content_map = std::unordered_map<data::block_id, std::uint64_t>;

/// What one seed did, for the sum over all seeds: a simulator in which nothing happens proves nothing.
struct tally {
  std::uint64_t finished = 0, failed = 0, tasks = 0, gang_attempts = 0, steps = 0, restored = 0, executors_killed = 0;
  std::uint64_t nodes_killed = 0, coordinators_killed = 0, recalls = 0, missing = 0, with_answer = 0;
  std::uint64_t narrow = 0;       // gang attempts with fewer ranks than partitions,
  std::uint64_t other_width = 0;  // with another number of ranks than the one before,
  std::uint64_t gone_back = 0;    // that could not restore the last checkpoint
};

class simulation {
 public:
  explicit simulation(std::uint64_t seed, tally&);
  void run();

  bool trace = false;

 private:
  // ---- time and network (simulation.cpp) ----
  struct entry {
    time_point at;
    std::uint64_t order;
    std::function<void()> what;
    bool operator<(const entry& o) const { return at != o.at ? at > o.at : order > o.order; }
  };
  void later(duration, std::function<void()>);
  /// Over a network that loses, repeats and reorders.
  void post(std::function<void()>);
  duration between(duration a, duration b);
  bool faults() const { return now_ < faults_until_; }
  [[noreturn]] void fail(const std::string& what) const;
  void say(const std::string& line) const;

  // ---- coordinator, nodes, faults (simulation_cluster.cpp) ----
  struct executor;
  struct node {
    std::string name;
    std::uint32_t slots = 0;
    std::unique_ptr<gang::reservation> agent;
    boot_id boot;
    time_point timer = never;
    bool connected = false;
  };
  void start_coordinator();
  void kill_coordinator();
  void to_coordinator_machine(const gang::admission_event::any&);
  void apply(gang::admission::effects);
  void start_node(std::size_t);
  void kill_node(std::size_t);
  void to_agent(std::size_t, boot_id, const gang::reservation_event::any&);
  void apply(std::size_t, gang::reservation::effects);
  void kill_executor(std::uint64_t boot, const std::string& why);
  void break_connection(std::uint64_t boot);
  void plan_faults();
  void connect_all();

  // ---- executors (simulation_executor.cpp) ----
  struct attempt {
    bool is_gang = false;
    std::uint32_t slots = 0;  // of a gang: ranks here
    bool entered = false, joined = false, stopping = false;
    std::map<std::uint32_t, exec::task> ranks;
    std::uint32_t returned = 0;
    std::set<exec::task_id> seen;
    std::vector<exec::task> queue;
    std::set<exec::task_id> running;
    std::map<exec::task_id, exec::from_task_host> answers;
  };
  struct executor {
    boot_id boot;
    std::size_t on = 0;  // node
    std::map<gang::attempt_ref, attempt> attempts;
    std::set<gang::attempt_ref> over;
    content_map blocks;
    std::uint64_t connection = 0;  // to the driver; messages of an older one are lost
  };
  struct gang_run {
    std::vector<gang::member> members;
    std::uint32_t entered = 0, world = 0;
    std::uint64_t step = 0;
    bool begun = false;
    std::map<std::uint32_t, std::vector<std::vector<std::uint64_t>>> inputs;  // by rank, fetched when it began
  };
  executor* find_executor(boot_id);
  void join(executor&, const exec::join_gang&);
  attempt* find_attempt(boot_id, const gang::attempt_ref&);
  void executor_told(boot_id, const gang::to_executor&);
  void tell_agent(executor&, gang::from_executor);
  void task_told(boot_id, const exec::to_task_host&);
  void answer(executor&, const exec::from_task_host&);
  void maybe_joined(executor&, const gang::attempt_ref&);
  void run_next(executor&, const gang::attempt_ref&);
  void finish_task(boot_id, const gang::attempt_ref&, const exec::task&);
  void advance(const gang::attempt_ref&);
  void return_ranks(const gang::attempt_ref&);
  exec::task_done result_of(executor&, const exec::task&, const std::vector<std::vector<std::uint64_t>>& inputs);
  std::vector<std::vector<std::uint64_t>> fetch(const exec::task&, std::vector<data::block_ref>& missing);
  const std::uint64_t* find_block(const data::block_ref&);
  exec::task_failed failure_of(executor&, const exec::task&, errc, std::string,
                               std::vector<data::block_ref> missing = {});

  // ---- driver and jobs (simulation_driver.cpp) ----
  struct job_state {
    std::unique_ptr<machine> m;
    plan::job_graph graph;
    std::vector<std::vector<std::vector<std::pair<std::uint32_t, std::uint64_t>>>>
        expected;  // [stage][partition]: bucket, content; empty until it is asked for
    std::vector<bool> consumed;
    time_point timer = never;
    bool ended = false, cancelled = false, enough = false;
    bool fatal = false;  // a task of it always fails
    std::uint32_t fatal_stage = 0, fatal_partition = 0;
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t> failures;  // injected, per task
    std::map<request_id, exec::restore_point> checkpointed, replicated;         // last complete ones
    std::map<request_id, std::uint32_t> ranks;                                  // of the last attempt
    std::map<std::uint32_t, std::uint32_t> width;                               // by stage: of the last attempt
    std::map<request_id, attempt_id> fence;
    std::map<std::pair<std::uint32_t, std::uint32_t>, attempt_id> gang_attempt;  // (stage, task attempt)
    std::uint64_t steps = 0;                                                     // to train
    std::uint64_t every = 0;                                                     // steps between checkpoints
    std::uint64_t kinds = 0;  // of checkpoints: 0 a piece per rank, 1 replicated, 2 both
    bool is_replicated(std::uint64_t step) const { return kinds == 1 || (kinds == 2 && step % 3 == 0); }
  };
  /// What an attempt with so many ranks has to restore.
  static std::optional<exec::restore_point> to_restore(const job_state&, const request_id&, std::uint32_t ranks);
  plan::job_graph random_graph(job_state&);
  /// What its stages write, gangs with as many ranks as they last had.
  const std::vector<std::vector<std::vector<std::pair<std::uint32_t, std::uint64_t>>>>& expected(std::uint32_t job);
  void placed(job_state&, const exec::task& rank);
  void start_job(std::uint32_t);
  void to_job(std::uint32_t job, event);
  void apply(std::uint32_t job, std::vector<effect>&);
  void driver_heard(const gang::to_job&);
  void from_driver(const gang::from_job&);
  void begin_run();
  void check_end();

  std::uint64_t seed_;
  tally& tally_;
  random_source random_;
  time_point now_{1s};
  std::uint64_t order_ = 0;
  std::priority_queue<entry> queue_;
  time_point faults_until_{};
  double drop_ = 0, repeat_ = 0;
  duration delay_ = 1ms;

  std::unique_ptr<gang::admission> coordinator_;
  std::uint64_t coordinator_life_ = 0;
  time_point coordinator_timer_ = never;
  std::vector<gang::record> durable_, written_;
  std::uint64_t synced_ = 0;
  std::vector<node> nodes_;
  std::map<std::uint64_t, executor> executors_;
  std::map<gang::attempt_ref, gang_run> gangs_;
  std::uint64_t next_boot_ = 1;

  gang::application_ref app_;
  data::process_ref driver_;
  content_map driver_blocks_;
  bool begun_ = false;
  std::set<std::string> denied_;     // reasons
  std::uint64_t killed_before_ = 0;  // by other seeds
  bool driver_connected_ = false;
  std::vector<job_state> jobs_;
};

std::string endpoint_of(boot_id executor);

std::uint64_t content_of(std::uint32_t job, std::uint32_t stage, std::uint32_t partition, std::uint32_t index,
                         const std::vector<std::vector<std::uint64_t>>& inputs);
/// How many blocks a task writes, and into which bucket: the same for every attempt.
std::vector<std::uint32_t> buckets_of(std::uint32_t job, std::uint32_t stage, std::uint32_t partition,
                                      std::uint32_t buckets);

}  // namespace hydrogen::job::test
