#pragma once
// What the job machine is told. Plain values; the job actor makes them of messages, closed connections and its clock.

#include <hydrogen/exec/task.hpp>
#include <hydrogen/gang/messages.hpp>

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace hydrogen::job {

/// The first event. The coordinator is taken to be connected unless `coordinator_lost` came before.
struct start {};

/// The user, or the end of the driver: the job fails with errc::cancelled.
struct cancel {
  std::string why;
};

/// The sink needs no further result: the job ends well, the rest of it is cancelled.
struct enough {};

/// `machine::next_wakeup()` has come. Early or late ones do no harm.
struct timer {};

/// A new connection to the coordinator on which `begin_run` was sent: everything open is asked again.
struct coordinator_connected {};
struct coordinator_lost {};

struct from_coordinator {
  gang::to_job what;
};

/// `executor`: the boot that the connection belongs to.
struct from_executor {
  boot_id executor;
  exec::from_task_host what;
};

/// The connection to an executor was closed or could not be made. A hint: `executor_gone` of the coordinator is the
/// truth.
struct executor_unreachable {
  boot_id executor;
  std::string why;
  bool stood = true;  // it was closed: what was in it may be lost, and no answer comes from there any more
};

/// Answer to `copy_blocks`: where the copies are now, in the same order, or why it was not possible.
struct blocks_copied {
  std::uint32_t stage = 0;
  std::uint32_t partition = 0;
  std::uint32_t attempt = 0;
  expected<std::vector<data::block_ref>> copies;
};

/// The driver could not fetch these blocks of a result: they count as lost, and are computed again.
struct blocks_missing {
  std::vector<data::block_ref> blocks;
  std::string why;
};

/// The driver has taken what `result_ready` named; the blocks may go.
struct result_consumed {
  std::uint32_t partition = 0;
};

using event = std::variant<start, cancel, enough, timer, coordinator_connected, coordinator_lost, from_coordinator,
                           from_executor, executor_unreachable, blocks_copied, blocks_missing, result_consumed>;

}  // namespace hydrogen::job
