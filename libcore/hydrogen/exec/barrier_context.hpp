#pragma once
// What a function in a barrier stage sees of its gang: the collectives of all its ranks (gang_group.hpp), and the
// checkpoints. One per rank, used on that rank's slot thread for the length of the function.

#include <hydrogen/data/rows.hpp>
#include <hydrogen/exec/device_gradients.hpp>
#include <hydrogen/exec/environment.hpp>
#include <hydrogen/exec/gang_group.hpp>

#include <optional>
#include <source_location>
#include <utility>

namespace hydrogen::exec {

struct checkpoint_options {
  /// All ranks hold the same state: after their hashes agree, rank 0 alone writes it, and an attempt of any world size
  /// can restore it.
  bool replicated = false;
};

/// World size: with `barrier_options::least_ranks` attempts may differ in it; in one attempt it does not change.
class barrier_context : public gang_group {
 public:
  barrier_context(const task& what, task_environment& environment);
  barrier_context(const barrier_context&) = delete;

  /// Earlier attempts of this gang: 0 in the first.
  std::uint32_t attempt() const;
  /// The attempt was ended from outside: return soon. Collectives fail by themselves.
  bool stop_requested() const;

  /// A device of this rank: the `which`-th that was granted with its slot, or the host's where none was asked for.
  task_device& device(std::size_t which = 0) { return exec::device(which); }

  using gang_group::gradients;
  /// Of tensors on this rank's device. All ranks of the gang make it, with the same tensors and options; once, before
  /// the first step.
  device_gradients gradients(task_device& on, const std::vector<std::size_t>& sizes,
                             comm::gradient_options options = {}, device_exchange by = device_exchange::same_bits,
                             site at = site::current()) {
    return {of_ranks(), on, sizes, options, by, timeout(), at};
  }

  /// Makes `state` after `step` steps durable; all ranks call it. Returns when this rank's piece is on disk and the job
  /// knows. The last two steps are kept. A state that is not replicated can be restored by as many ranks alone.
  template <class State>
  void checkpoint(std::uint64_t step, const State& state, checkpoint_options options = {}, site at = site::current()) {
    data::require_row<State>();
    save(step, data::encode_value(state), options, at);
  }
  /// The last complete checkpoint, as (step, state); (step, initial) when there is none. All ranks get the same step.
  /// If another world size wrote it, and it is not replicated: the last complete one that is, or (step, initial).
  template <class Step, class State>
  std::pair<Step, State> restore_or(Step step, State initial) {
    data::require_row<State>();
    byte_buffer bytes;
    if (const auto saved = load(bytes)) {
      return {static_cast<Step>(*saved), value_or_throw(data::decode_value<State>(bytes, "the state of a checkpoint"))};
    }
    return {step, std::move(initial)};
  }

 private:
  void save(std::uint64_t step, byte_view state, checkpoint_options options, const site& at);
  std::optional<std::uint64_t> load(byte_buffer& bytes);

  const task& task_;
  task_environment& environment_;
  struct piece {
    std::uint64_t step = 0;
    std::string path;
  };
  std::vector<piece> pieces_;  // this rank's, oldest first
};

}  // namespace hydrogen::exec
