#pragma once
// What the job machine wants done. The job actor does it in the order given; what goes to one receiver may be batched.

#include <hydrogen/exec/task.hpp>
#include <hydrogen/gang/messages.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace hydrogen::job {

/// The outputs of a stage that a later job of the run may use instead of computing them: per partition, all blocks of a
/// partition in one process.
struct kept_output {
  std::uint64_t keep_as = 0;
  std::vector<std::vector<data::block_ref>> partitions;
  std::uint32_t ranks = 0;  // of a barrier stage: how many ranks made them
};

/// Dropped by the actor while there is no connection; the machine repeats what matters.
struct to_coordinator {
  gang::from_job what;
};

/// Over the direct connection to that executor, opened when it is first needed.
struct to_executor {
  data::process_ref at;
  exec::to_task_host what;
};

/// Make the output of a rank durable: copy it into the driver's store. Answered by `blocks_copied` with the same stage,
/// partition and attempt, within the driver's own deadline for fetches.
struct copy_blocks {
  std::uint32_t stage = 0;
  std::uint32_t partition = 0;
  std::uint32_t attempt = 0;
  std::vector<data::block_ref> refs;
  bool beyond_limit = false;  // options::copy_limit is passed with these
};

/// Copies in the driver's store that nobody needs any more.
struct drop_copies {
  std::vector<data::block_id> blocks;
};

/// A partition of the result: in partition order, except that a partition which was lost before `result_consumed` comes
/// again later with other blocks. Fetch, give to the sink, answer `result_consumed` (or `blocks_missing`).
struct result_ready {
  std::uint32_t partition = 0;
  std::vector<data::block_ref> refs;
};

/// All ranks have written and reported `point`: a later attempt goes on from there.
struct checkpoint_complete {
  std::uint32_t stage = 0;
  request_id gang;
  exec::restore_point point;
};

/// The end, once: all results are consumed (or `enough` was said).
struct finished {
  std::vector<kept_output> kept;
};

/// The end, once. `cause` is there when a task failed beyond its limit. What was complete by then is kept as well.
struct failed {
  error why;
  std::optional<task_failure> cause;
  std::vector<kept_output> kept;
};

enum class log_level : std::uint8_t { info, warning };
struct log_line {
  log_level level = log_level::info;
  std::string text;
};

using effect = std::variant<to_coordinator, to_executor, copy_blocks, drop_copies, result_ready, checkpoint_complete,
                            finished, failed, log_line>;

}  // namespace hydrogen::job
