#pragma once
// The job machine behind <hydrogen/job/machine.hpp>: its tables and the steps that keep them. Private.
//
// core.cpp      events, timer, the coordinator's messages by kind
// lineage.cpp   what is required, when it is ready, what is lost, inputs of a task
// lease.cpp     requests and leases of parallel stages
// tasks.cpp     parallel tasks: choice, sending, results, failures
// gang.cpp      barrier stages: fence to release
// rank.cpp      ranks: their tasks, results, copies, checkpoints
// ending.cpp    results, the end, what is dropped

#include <hydrogen/job/machine.hpp>
#include <hydrogen/job/tables.hpp>

#include <unordered_map>

namespace hydrogen::job {

class core {
 public:
  explicit core(setup);
  void on(event, time_point now, std::vector<effect>& out);
  time_point next_wakeup() const { return phase_ == phase::over ? never : wakeup_; }
  bool ended() const { return phase_ >= phase::confirming; }
  bool over() const { return phase_ == phase::over; }
  std::vector<stage_progress> progress() const;

 private:
  enum class phase : std::uint8_t { fresh, running, confirming, over };

  // ---- core.cpp ----
  void handle(start&);
  void handle(cancel&);
  void handle(enough&);
  void handle(timer&) {}
  void handle(coordinator_connected&);
  void handle(coordinator_lost&);
  void handle(from_coordinator&);
  void handle(from_executor&);
  void handle(executor_unreachable&);
  void handle(blocks_copied&);
  void handle(blocks_missing&);
  void handle(result_consumed&);

  void heard(gang::begun&) {}
  void heard(gang::run_over&);
  void heard(gang::admitted&);
  void heard(gang::wanted&);
  void heard(gang::denied&);
  void heard(gang::fence&);
  void heard(gang::placed&);
  void heard(gang::granted&);
  void heard(gang::leased&);
  void heard(gang::recall&);
  void heard(gang::ended&);
  void heard(gang::decided&);
  void heard(gang::executor_gone&);
  void heard(gang::hand_back&);

  expected<void> check_graph() const;
  void tick();
  void tick_processes();
  bool fail_gangs_of(std::uint32_t process);
  void settle();
  void wake_at(time_point t) { wakeup_ = std::min(wakeup_, t); }
  void say(gang::from_job m) {
    if (connected_) out_->push_back(to_coordinator{std::move(m)});
  }
  void log(log_level level, std::string text) { out_->push_back(log_line{level, std::move(text)}); }
  bool mine(const request_id& id) const {
    return id.run == set_.run && id.job == set_.job && id.stage < stages_.size();
  }
  void note(gang::noted_kind what, const request_id&, attempt_id, boot_id executor);

  // ---- lineage.cpp ----
  std::uint32_t answer_with(const stage_record&) const;
  static bool is_here(const std::vector<data::block_info>&);
  bool inputs_ready(const stage_record&, std::uint32_t partition) const;
  void require(stage_record&, std::uint32_t partition);
  void require_all(stage_record&);
  void require_inputs(stage_record&, std::uint32_t partition);
  void try_ready(stage_record&, std::uint32_t partition);
  void completed(stage_record&, std::uint32_t partition);
  void lose(stage_record&, std::uint32_t partition, const std::string& why);
  bool lose_block(const data::block_ref&, const std::string& why);
  void replan();
  void set_waiting(stage_record&, std::uint32_t partition);
  std::uint32_t home_of_inputs(const stage_record&, std::uint32_t partition);
  std::vector<std::vector<data::block_ref>> inputs_of(const stage_record&, std::uint32_t partition) const;
  /// How many tasks share the input: of a gang that is placed its ranks, else one per partition.
  static std::uint32_t readers(const stage_record& s) {
    return static_cast<std::uint32_t>(s.gang.ranks.empty() ? s.parts.size() : s.gang.ranks.size());
  }
  template <class F>
  void each_input(const stage_record&, std::uint32_t partition, F&&) const;
  std::uint32_t process_of(const data::process_ref&, std::uint32_t node);
  std::uint32_t driver_process();
  std::uint32_t node_of(const std::string& name);
  void executor_lost(std::uint32_t process, const std::string& why);
  void node_failed(std::uint32_t node);
  std::vector<std::string> nodes_to_avoid() const;
  bool excluded(std::uint32_t node) const { return node != no_index && nodes_[node].excluded_until > now_; }
  void drop(std::uint32_t process, const std::vector<data::block_info>&);

  // ---- lease.cpp ----
  void open_request(stage_record&, std::uint32_t most);
  void close_request(request_record&);
  void closed(request_record&);
  void want(request_record&, std::uint32_t most);
  void ask(request_record&);
  void balance(stage_record&);
  void settle_parallel(stage_record&);
  void steal(stage_record&, lease_record&);
  void empty_lease(lease_record&);
  void close_lease(stage_record&, lease_record&, const char* why);
  void release(lease_record&);
  void end_lease(lease_record&, gang::end_cause);
  void requeue_all(lease_record&, bool lost, const std::string& why);
  request_record* find_request(const request_id&);
  lease_record* find_lease(request_record&, attempt_id);
  std::uint32_t index_of(const lease_record& l) const { return static_cast<std::uint32_t>(&l - leases_.data()); }
  void tick_requests();
  void tick_leases();

  // ---- tasks.cpp ----
  void pump(stage_record&, lease_record&);
  std::uint32_t window_of(const stage_record&) const;
  bool usable(const stage_record&, const lease_record&) const;
  bool choosy_about(const stage_record&, const partition_record&, const lease_record&) const;
  std::uint32_t pick(stage_record&, const lease_record&);
  bool send(stage_record&, std::uint32_t partition, lease_record&);
  exec::task make_task(const stage_record&, std::uint32_t partition, std::uint32_t attempt) const;
  void take_back(stage_record&, lease_record&, std::size_t at, const char* why);
  void requeue(stage_record&, std::uint32_t partition);
  bool interrupted(stage_record&, std::uint32_t partition, const error& why);
  void forget_task(lease_record&, std::uint32_t partition, std::uint32_t attempt);
  void got(boot_id, exec::task_refused&);
  void got(boot_id, exec::task_done&);
  void got(boot_id, exec::task_failed&);
  void got(boot_id, exec::checkpointed&);
  bool current(const exec::task_id&, const request_id&, attempt_id) const;
  task_failure describe(const stage_record&, task_failure, std::uint32_t partition, std::uint32_t attempt,
                        std::uint32_t node) const;

  // ---- gang.cpp ----
  void settle_gang(stage_record&);
  bool executor_in_doubt() const;
  void ask_gang(stage_record&);
  struct bounds {
    std::uint32_t least = 0, most = 0;
  };
  bounds ranks_wanted(const stage_record&) const;
  void choose_restore(stage_record&);
  void decide(stage_record&, gang::decision_kind, attempt_id, std::string cause);
  void fail_attempt(stage_record&, std::string cause, bool spared);
  void attempt_over(stage_record&, const gang::ended&);
  void reset_attempt(stage_record&);
  void gang_ended(stage_record&, const gang::ended&);
  void tick_gang(stage_record&);
  bool gang_ready(const stage_record&) const;
  void lose_gang(stage_record&, const std::string& why);

  // ---- rank.cpp ----
  void send_ranks(stage_record&);
  bool live(const stage_record&, const exec::task_id&, const request_id&, attempt_id) const;
  void rank_done(stage_record&, exec::task_done&);
  void rank_checkpointed(stage_record&, const exec::checkpointed&);
  void rank_refused(stage_record&, const exec::task_refused&);
  void rank_failed(stage_record&, exec::task_failed&);
  void rank_copied(stage_record&, blocks_copied&);
  void copy_failed(stage_record&, std::uint32_t rank, const std::string& why);
  void gang_complete(stage_record&);

  // ---- ending.cpp ----
  void emit(std::uint32_t partition);
  void emit_results();
  void fail_job(error, std::optional<task_failure> cause = std::nullopt);
  void finish();
  void shut_down(const std::string& why);
  std::vector<kept_output> kept_outputs();
  void drop_outputs();
  void tick_confirming();

  setup set_;
  std::vector<stage_record> stages_;
  std::vector<request_record> requests_;
  std::vector<lease_record> leases_;
  std::vector<std::uint32_t> active_leases_;  // not over, or with tasks that may still report
  std::vector<process_record> processes_;
  std::unordered_map<std::uint64_t, std::uint32_t> process_by_boot_;
  std::vector<node_record> nodes_;
  std::vector<open_release> releases_;
  std::vector<std::uint32_t> dirty_;  // stages to settle
  void touch(stage_record& s) {
    if (!s.dirty) s.dirty = true, dirty_.push_back(s.index);
  }

  phase phase_ = phase::fresh;
  bool connected_ = true;
  time_point away_since_ = never;
  term_id term_;  // the highest heard
  time_point now_{};
  time_point wakeup_ = time_point::min();
  time_point next_tick_ = time_point::min();
  time_point confirm_until_ = never;
  std::vector<effect>* out_ = nullptr;

  // Results: what the sink has not seen, what it is looking at, what it has taken.
  enum class result_state : std::uint8_t { unseen, emitted, consumed };
  std::vector<result_state> results_;
  std::uint32_t next_result_ = 0;
  std::uint32_t consumed_ = 0;

  std::vector<std::uint64_t> weight_;  // scratch of home_of_inputs, by process
};

template <class F>
void core::each_input(const stage_record& s, std::uint32_t partition, F&& f) const {
  for (std::size_t k = 0; k < s.what.inputs.size(); ++k) {
    const auto& input = s.what.inputs[k];
    const auto& producer = stages_[input.producer];
    const auto count = static_cast<std::uint32_t>(producer.parts.size());
    auto range = plan::partition_range{0, count};
    if (input.kind == plan::input_kind::range) {
      range = plan::range_of(partition, readers(s), count);
    }
    f(k, input, producer, range);
  }
}

}  // namespace hydrogen::job
