#pragma once
// How a driver talks to executors: by mail inside its process, over one direct control connection per executor
// otherwise. Thread-safe; nothing blocks. A message to an executor that cannot be reached is dropped, and `unreachable`
// says so: the job machine repeats or gives the task to another executor.

#include <hydrogen/actors/process.hpp>

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace hydrogen::actors {

class executor_links : public std::enable_shared_from_this<executor_links> {
 public:
  using answer_handler = std::function<void(boot_id from, exec::from_task_host&&)>;
  /// `stood`: there was a connection, and it was closed.
  using unreachable_handler = std::function<void(boot_id, const error&, bool stood)>;

  executor_links(process& home, answer_handler, unreachable_handler);

  /// All of them, in this order.
  void send(const data::process_ref& to, std::vector<exec::to_task_host> messages);
  /// Closes all connections; later messages are dropped.
  void close();

 private:
  struct remote {
    comm::connection_ptr connection;  // null while dialling
    std::deque<byte_buffer> waiting;
  };
  void dial(const data::process_ref&);
  void lost(boot_id, const error&, bool stood);

  process& home_;
  /// Of an executor in this process, where its tasks answer; the last one that was asked for.
  std::shared_ptr<const task_reply> reply_of(boot_id);

  const answer_handler answer_;
  const unreachable_handler unreachable_;
  std::mutex mutex_;
  std::unordered_map<boot_id, remote> remotes_;
  boot_id local_;
  std::shared_ptr<const task_reply> local_reply_;
  bool closed_ = false;
};

}  // namespace hydrogen::actors
