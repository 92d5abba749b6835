#pragma once
// What an executor lends to one task. All references outlive the call of `perform_task`; the functions are called on
// the task's slot thread only.

#include <hydrogen/base/abort.hpp>
#include <hydrogen/data/block_store.hpp>
#include <hydrogen/data/buffer.hpp>
#include <hydrogen/exec/devices.hpp>
#include <hydrogen/exec/task.hpp>

#include <functional>
#include <span>

namespace hydrogen::comm {
class group;
}

namespace hydrogen::exec {

/// Steps whose pieces an attempt may go back to; 0: none.
struct known_steps {
  std::uint64_t last = 0;        // the job is known to know all pieces of it
  std::uint64_t replicated = 0;  // one before, for an attempt of another world size
};

struct task_environment {
  data::block_store& store;  // outputs go here
  /// The blocks, in the order asked for: local ones by pointer, others over links. Blocks the slot thread, with a
  /// deadline; asked in bounded portions, each from one process.
  std::function<expected<std::vector<data::block_ptr>>(std::span<const data::block_ref>)> fetch;
  comm::group* gang = nullptr;  // barrier stage only
  abort_word& abort;            // set: the task ends at its next block or collective, with the reason
  /// Returns when the job has been told that the piece is durable.
  std::function<expected<void>(const checkpointed&)> report_checkpoint;
  std::function<known_steps()> known_checkpoint;
  data::process_ref self;
  std::string host;                                     // for messages; empty: the machine's name
  std::size_t block_bytes = data::default_block_bytes;  // of output blocks, 4 KiB to 2 MiB
  device_lender devices = {};                           // those granted with the slot
};

}  // namespace hydrogen::exec
