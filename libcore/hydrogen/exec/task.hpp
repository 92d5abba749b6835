#pragma once
// A task as plain data: what runs (operators and their parameters), on what (blocks), as which attempt. It travels from
// the job to an executor and can be run again anywhere; that is what makes recovery possible. Messages between a job
// and the executors that its leases name. Plain values with `inspect`.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/comm/gang_table.hpp>
#include <hydrogen/data/block.hpp>

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace hydrogen::exec {

/// Names compiled code: (content hash of the library, offset of the operator's descriptor from its load base), so the
/// same in every process that loaded the same library.
struct operator_id {
  hash128 library;
  std::uint64_t offset = 0;
  auto operator<=>(const operator_id&) const = default;
  template <class I>
  friend auto inspect(I& f, operator_id& x) {
    return f(x.library, x.offset);
  }
};

/// Bytes given to a task: inline up to 16 KiB, above that a block named by content, fetched once per executor.
struct argument {
  byte_buffer bytes;
  std::optional<data::block_ref> block;
  std::shared_ptr<const void> kept =
      {};  // at the driver: the block stays in its store as long as this. Does not travel
  template <class I>
  friend auto inspect(I& f, argument& x) {
    return f(x.bytes, x.block);
  }
};
inline constexpr std::size_t inline_argument_limit = 16 * 1024;

/// One step of a task's chain: each consumes the blocks of the step before it.
struct operator_call {
  operator_id op;
  argument parameters;
  template <class I>
  friend auto inspect(I& f, operator_call& x) {
    return f(x.op, x.parameters);
  }
};

/// The chain of a stage, shared by all of its tasks: a copy of a task copies no parameters. Reads like a const vector.
class operator_chain {
 public:
  operator_chain() = default;
  operator_chain(std::vector<operator_call> calls)
      : calls_(std::make_shared<const std::vector<operator_call>>(std::move(calls))) {}
  operator_chain(std::initializer_list<operator_call> calls) : operator_chain(std::vector<operator_call>(calls)) {}

  const std::vector<operator_call>& calls() const {
    static const std::vector<operator_call> none;
    return calls_ ? *calls_ : none;
  }
  operator const std::vector<operator_call>&() const { return calls(); }
  auto begin() const { return calls().begin(); }
  auto end() const { return calls().end(); }
  std::size_t size() const { return calls().size(); }
  bool empty() const { return calls().empty(); }
  const operator_call& operator[](std::size_t i) const { return calls()[i]; }
  const operator_call& front() const { return calls().front(); }
  const operator_call& back() const { return calls().back(); }
  /// Copies what is there: for tests and small chains.
  void push_back(operator_call call) {
    auto all = calls();
    all.push_back(std::move(call));
    *this = operator_chain(std::move(all));
  }

  template <class I>
  friend auto inspect(I& f, operator_chain& x) {
    if constexpr (std::is_same_v<I, encoder>) {
      return f(const_cast<std::vector<operator_call>&>(x.calls()));  // saving only reads
    } else {
      auto all = x.calls();
      const auto done = f(all);
      x = operator_chain(std::move(all));
      return done;
    }
  }

 private:
  std::shared_ptr<const std::vector<operator_call>> calls_;
};

using hydrogen::task_id;

/// The step that all ranks of an attempt restore, the same for all, so that they take the same branch.
struct restore_point {
  std::uint64_t step = 0;
  attempt_id written_by;
  bool replicated = false;      // one piece, by rank 0
  std::vector<hash128> pieces;  // content hash of each rank's piece (one if replicated)
  template <class I>
  friend auto inspect(I& f, restore_point& x) {
    return f(x.step, x.written_by, x.replicated, x.pieces);
  }
  bool operator==(const restore_point&) const = default;
};

/// What a rank knows of its gang beyond the task.
struct rank_part {
  std::uint32_t size = 0;      // world size, of this attempt
  std::uint32_t gang_try = 0;  // earlier Go's of this gang, from 0: barrier_context::attempt()
  std::optional<restore_point> restore;
  duration call_timeout = std::chrono::seconds(60);  // of each collective
  template <class I>
  friend auto inspect(I& f, rank_part& x) {
    return f(x.size, x.gang_try, x.restore, x.call_timeout);
  }
};

struct task {
  task_id id;
  request_id request;  // the lease or gang attempt under which it runs: the fencing token
  attempt_id attempt;
  std::string label;  // for people: "digits: stage 2, train"
  operator_chain chain;
  argument partition_argument;                       // of a source: which part to read
  std::vector<std::vector<data::block_ref>> inputs;  // by stage input, in (producer partition, index) order
  std::uint32_t buckets = 1;                         // partitions of the shuffle that it writes; 1: plain output
  std::optional<rank_part> rank;                     // set in a barrier stage
  std::uint32_t answer_with = 0;                     // outputs of so many bytes together come with the answer
  std::string storage_dir;                           // for checkpoints: one path that every node can read and write
  std::uint32_t gpus = 0;                            // that its slot was granted
  template <class I>
  friend auto inspect(I& f, task& x) {
    return f(x.id, x.request, x.attempt, x.label, x.chain, x.partition_argument, x.inputs, x.buckets, x.rank,
             x.answer_with, x.storage_dir, x.gpus);
  }
};

// ---- job -> executor -----------------------------------------------------------------------------------------------

struct run_task {
  task what;
  template <class I>
  friend auto inspect(I& f, run_task& x) {
    return f(x.what);
  }
};
/// The ranks of a gang attempt, in order. Comes before its rank tasks to each executor that has some.
struct join_gang {
  request_id request;
  attempt_id attempt;
  comm::gang_table members;
  template <class I>
  friend auto inspect(I& f, join_gang& x) {
    return f(x.request, x.attempt, x.members);
  }
};
struct cancel_task {
  task_id id;
  std::string why;
  template <class I>
  friend auto inspect(I& f, cancel_task& x) {
    return f(x.id, x.why);
  }
};
/// Outputs nobody needs any more. A block that is not there is no error.
struct drop_blocks {
  std::vector<data::block_id> blocks;
  template <class I>
  friend auto inspect(I& f, drop_blocks& x) {
    return f(x.blocks);
  }
};

/// The job knows all pieces of this step, so no attempt goes back further, except one of another world size to the last
/// replicated step: other earlier pieces may be removed. Goes to the executors of an attempt. One that is lost does no
/// harm: the next says more.
struct checkpoint_known {
  request_id request;
  attempt_id attempt;
  std::uint64_t step = 0;
  std::uint64_t replicated = 0;  // 0: none that has to stay
  template <class I>
  friend auto inspect(I& f, checkpoint_known& x) {
    return f(x.request, x.attempt, x.step, x.replicated);
  }
};

// ---- executor -> job -----------------------------------------------------------------------------------------------

/// The executor does not know this attempt (yet, or any more): the job repeats the task until it is taken or the
/// attempt is over.
struct task_refused {
  task_id id;
  request_id request;
  attempt_id attempt;
  std::string why;
  template <class I>
  friend auto inspect(I& f, task_refused& x) {
    return f(x.id, x.request, x.attempt, x.why);
  }
};
struct task_done {
  task_id id;
  request_id request;
  attempt_id attempt;
  data::process_ref at;
  std::vector<data::block_info> outputs;
  duration ran = duration::zero();
  template <class I>
  friend auto inspect(I& f, task_done& x) {
    return f(x.id, x.request, x.attempt, x.at, x.outputs, x.ran);
  }
};
struct task_failed {
  task_id id;
  request_id request;
  attempt_id attempt;
  boot_id executor;
  task_failure why;
  /// Inputs that could not be fetched: they count as lost, and the failure not against the task.
  std::vector<data::block_ref> missing;
  template <class I>
  friend auto inspect(I& f, task_failed& x) {
    return f(x.id, x.request, x.attempt, x.executor, x.why, x.missing);
  }
};
/// This rank's piece of a checkpoint is durable.
struct checkpointed {
  task_id id;
  request_id request;
  attempt_id attempt;
  std::uint64_t step = 0;
  bool replicated = false;
  hash128 piece;
  template <class I>
  friend auto inspect(I& f, checkpointed& x) {
    return f(x.id, x.request, x.attempt, x.step, x.replicated, x.piece);
  }
};

using to_task_host = std::variant<join_gang, run_task, cancel_task, drop_blocks, checkpoint_known>;
using from_task_host = std::variant<task_refused, task_done, task_failed, checkpointed>;

}  // namespace hydrogen::exec
