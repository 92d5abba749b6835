#pragma once
// An executor: runs the tasks of one run on one node. The actor translates around gang::execution, which decides what
// may run when; each task is an actor, and slot threads run user code.
// Embedded it lives in the process of its agent; on a cluster in a process of its own (executor_process.hpp).

#include <hydrogen/actors/mail.hpp>
#include <hydrogen/actors/process.hpp>
#include <hydrogen/actors/slot_pool.hpp>
#include <hydrogen/gpu/device.hpp>

#include <map>
#include <memory>
#include <set>

namespace hydrogen::actors {

struct executor_options {
  gang::application_ref app;
  boot_id boot;
  std::string node;
  std::uint64_t block_budget = std::uint64_t{4} << 30;  // bytes of blocks in memory
  std::string storage_dir;                              // for checkpoints, where the task names none
  duration join_timeout = 30s;                          // until all ranks of a gang have their links
  duration enter_timeout = 60s;                         // from joined to enter
  duration hang_limit = duration::zero();               // in process: user code that does not return after `stop_mail`
                                           // ends the whole process; zero: a child process, which is killed
  std::vector<gpu::device_info> gpus = {};  // of the node, by number
  channel<gang::from_executor> to_agent;
};

/// Spawns the executor and registers it and its block store with the process under `options.boot`.
caf::actor spawn_executor(process&, executor_options);

}  // namespace hydrogen::actors
