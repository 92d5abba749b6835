#include <hydrogen/comm/group.hpp>
#include <hydrogen/exec/barrier_context.hpp>
#include <hydrogen/exec/checkpoint.hpp>

#include <spdlog/spdlog.h>

namespace hydrogen::exec {
namespace {

/// The group of the task, and how long its calls may take.
gang_group group_of(const task& what, const task_environment& environment) {
  if (!what.rank || environment.gang == nullptr) {
    throw failure({errc::internal, "a task of a barrier stage was started without its gang", what.label, {}});
  }
  return {*environment.gang, what.rank->call_timeout};
}

}  // namespace

barrier_context::barrier_context(const task& what, task_environment& environment)
    : gang_group(group_of(what, environment)), task_(what), environment_(environment) {
  if (const auto& r = what.rank->restore; r && (!r->replicated || rank() == 0)) {
    pieces_.push_back({r->step, checkpoint_path(what.storage_dir, what.request, r->written_by, r->step, rank())});
  }
}

std::uint32_t barrier_context::attempt() const {
  return task_.rank->gang_try;
}
bool barrier_context::stop_requested() const {
  return environment_.abort.is_set();
}

void barrier_context::save(std::uint64_t step, byte_view state, checkpoint_options options, const site& at) {
  if (task_.storage_dir.empty()) {
    throw failure({errc::refused, "checkpoint without a place to write to", task_.label,
                   "set storage.dir to a directory that all nodes can read and write"});
  }
  // All ranks meet first, on the step and, if the state is replicated, on its hash.
  const auto hash = content_hash(state);
  struct announcement {
    std::uint64_t step = 0;
    bool replicated = false;
    hash128 hash;
  };
  const announcement mine{step, options.replicated, hash};
  const auto all = gather_bytes(data::encode_value(mine), at);
  std::string differing;
  for (std::uint32_t r = 0; r < all.size(); ++r) {
    const auto theirs = value_or_throw(data::decode_value<announcement>(all[r], "the announcement of a checkpoint"));
    if (theirs.step != step || theirs.replicated != options.replicated) {
      throw failure({errc::mismatch,
                     "rank " + std::to_string(rank()) + " checkpoints step " + std::to_string(step) + ", rank " +
                         std::to_string(r) + " step " + std::to_string(theirs.step) +
                         (theirs.replicated != options.replicated ? ", and only one says it is replicated" : ""),
                     task_.label, "all ranks must checkpoint the same step"});
    }
    const auto first = value_or_throw(data::decode_value<announcement>(all[0], "the announcement of a checkpoint"));
    if (options.replicated && theirs.hash != first.hash)
      differing += (differing.empty() ? "" : ", ") + std::to_string(r);
  }
  if (!differing.empty()) {
    throw failure({errc::mismatch,
                   "the state after step " + std::to_string(step) +
                       " is said to be replicated, but differs from that of rank 0 in rank " + differing,
                   task_.label,
                   "all ranks must make the same updates; check for random numbers, or leave .replicated out"});
  }
  if (options.replicated && rank() != 0) return;

  const auto path = checkpoint_path(task_.storage_dir, task_.request, task_.attempt, step, rank());
  value_or_throw(write_piece(path, state));
  if (environment_.report_checkpoint) {
    value_or_throw(
        environment_.report_checkpoint({task_.id, task_.request, task_.attempt, step, options.replicated, hash}));
  }
  if (pieces_.empty() || pieces_.back().path != path) pieces_.push_back({step, path});
  // That all ranks have written is not enough: a job that has not heard of it restores what it has heard of.
  const auto known = environment_.known_checkpoint ? environment_.known_checkpoint() : known_steps{};
  std::erase_if(pieces_, [&](const piece& p) {
    if (p.step >= known.last || p.step == known.replicated) return false;
    remove_piece(p.path);
    return true;
  });
}

std::optional<std::uint64_t> barrier_context::load(byte_buffer& bytes) {
  const auto& point = task_.rank->restore;
  if (!point) return std::nullopt;
  const auto piece = point->replicated ? 0 : rank();
  if (piece >= point->pieces.size() || (!point->replicated && point->pieces.size() != size())) {
    throw failure({errc::mismatch,
                   "the checkpoint of step " + std::to_string(point->step) + " has " +
                       std::to_string(point->pieces.size()) + " pieces, the gang " + std::to_string(size()) + " ranks",
                   task_.label,
                   {}});
  }
  const auto path = checkpoint_path(task_.storage_dir, task_.request, point->written_by, point->step, piece);
  bytes = value_or_throw(read_piece(path, point->pieces[piece]));
  spdlog::info("restored step {} from {}", point->step, path);
  return point->step;
}

}  // namespace hydrogen::exec
