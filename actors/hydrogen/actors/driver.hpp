#pragma once
// A driver: the session behind the dataset API. It owns the job actors of one run, the driver's block store, and the
// conversation with the coordinator and the executors. Create it on the thread that will run the application's entry
// function; `execute` blocks that thread. Everything else is thread-safe.

#include <hydrogen/actors/executor_links.hpp>
#include <hydrogen/actors/job.hpp>
#include <hydrogen/actors/process.hpp>
#include <hydrogen/job/machine.hpp>
#include <hydrogen/plan/session.hpp>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

namespace hydrogen::actors {

struct session_options {
  gang::application_ref app;  // run, library; driver and endpoint are filled in
  std::string storage_dir;    // for checkpoints
  std::uint64_t max_result = std::uint64_t{1} << 30;
  std::uint64_t block_budget = std::uint64_t{4} << 30;
  job::options job;               // of all jobs of the run
  duration cancel_timeout = 10s;  // how long a cancelled job may take to be confirmed
  duration close_timeout = 3s;    // how long `close` waits for the coordinator to confirm that all is free
};

class driver final : public plan::session, public std::enable_shared_from_this<driver> {
 public:
  static std::shared_ptr<driver> open(process&, session_options);
  ~driver() override;
  /// The end of the run: jobs are cancelled, the coordinator is told and given `close_timeout` to confirm. Blocks.
  void close();

  // ---- the coordinator; called by whoever connects the two ----
  void attach(channel<gang::from_job> to_coordinator);
  void detach(const error& why);
  void deliver(gang::to_job message);

  /// Ctrl-C: the running and all later jobs end with errc::cancelled. Any thread.
  void cancel();
  /// Set by then. Any thread.
  abort_word& cancelled() { return cancelled_; }

  // ---- plan::session ----
  run_id run() const override { return options_.app.run; }
  hash128 library() const override { return options_.app.hash; }
  void execute(const plan::job_graph&, const sink&) override;
  exec::argument keep(byte_buffer bytes) override;
  void forget(std::uint64_t keep_as) override;
  std::uint64_t max_result() const override { return options_.max_result; }

 private:
  friend class job_actor;
  driver(process&, session_options);
  data::process_ref self() const { return {home_.boot(), home_.endpoint()}; }
  void tell_coordinator(gang::from_job);
  void answer(boot_id from, exec::from_task_host&&);
  void unreachable(boot_id, const error& why, bool stood);
  /// Blocking work of a job actor, on the driver's fetch thread.
  void copy(job_handle job, job::copy_blocks what);
  void drop(const std::vector<data::block_ref>&);
  void job_over(std::uint32_t number);
  void fetch_work();
  std::vector<job_handle> all_jobs();

  process& home_;
  session_options options_;
  std::shared_ptr<data::block_store> store_;
  std::shared_ptr<executor_links> links_;
  abort_word cancelled_;

  std::mutex mutex_;
  std::condition_variable changed_;
  channel<gang::from_job> to_coordinator_;  // null while away
  std::map<std::uint32_t, job_handle> jobs_;
  std::map<std::uint64_t, job::kept_output> kept_;
  std::uint32_t next_job_ = 0;
  bool closing_ = false;
  bool run_over_ = false;
  std::deque<std::function<void()>> fetches_;
  bool fetch_stop_ = false;
  std::thread fetch_thread_;
};

}  // namespace hydrogen::actors
