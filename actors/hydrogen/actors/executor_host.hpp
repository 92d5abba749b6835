#pragma once
// The seam between an agent and its executors: in this process (embedded), or as child processes. Everything above it
// is the same code. News come as mail to the agent: executor_ready_mail and later executor_died_mail, or
// executor_failed_mail alone; both ends when nothing of the executor is left. And executor_news_mail.
//
// Functions are called by the agent actor and never block.

#include <hydrogen/actors/mail.hpp>
#include <hydrogen/actors/process.hpp>
#include <hydrogen/gpu/device.hpp>

#include <memory>
#include <string>

namespace hydrogen::actors {

class executor_host {
 public:
  virtual ~executor_host() = default;
  /// Starts an executor for the run under this boot.
  virtual void start(const gang::application_ref&, boot_id) = 0;
  virtual void send(boot_id, gang::to_executor&&) = 0;
  /// Ends it whatever it does. Embedded, an executor ends when its threads come back from user code; one that does not
  /// within `hang_limit` ends the whole process with an error that names the rank.
  virtual void end(boot_id) = 0;
  /// Ends all of them and waits until they are gone, at most `limit`. Not on a CAF worker.
  virtual void shut_down(duration limit) = 0;
};

struct host_options {
  std::string node;
  std::uint64_t block_budget = std::uint64_t{4} << 30;
  std::string storage_dir;  // for checkpoints, where the task names none
  std::string data_dir;     // cached libraries of child processes
  std::string log_level = "info";
  duration join_timeout = 30s;  // of the ranks of a gang, until all have their links
  duration hang_limit = 5s;     // embedded: user code that does not return after its executor was told to end
  std::vector<gpu::device_info> gpus = {};  // of the node, by number
  std::string program;                      // what to run as `PROGRAM executor FD ...`; empty: this program
};

/// Executors as actors of this process.
std::unique_ptr<executor_host> make_in_process_host(process&, host_options, caf::actor agent);
/// Executors as child processes, with one spare kept ready. `home` must have a secret.
std::unique_ptr<executor_host> make_child_process_host(process&, host_options, caf::actor agent);

}  // namespace hydrogen::actors
