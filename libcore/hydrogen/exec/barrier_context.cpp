#include <hydrogen/comm/group.hpp>
#include <hydrogen/exec/barrier_context.hpp>
#include <hydrogen/exec/checkpoint.hpp>

#include <spdlog/spdlog.h>

namespace hydrogen::exec {
namespace {

template <class T>
void reduce_all(comm::group& gang, std::vector<std::span<T>>& parts, comm::reduction how,
                const comm::call_options& options) {
  if (parts.empty()) return;
  if (parts.size() == 1) return value_or_throw(gang.all_reduce(parts.front(), how, options));
  // One call for all fields: small fields cost a call each otherwise.
  std::vector<T> together;
  for (const auto& part : parts) together.insert(together.end(), part.begin(), part.end());
  value_or_throw(gang.all_reduce(std::span<T>(together), how, options));
  const T* from = together.data();
  for (const auto& part : parts) {
    std::copy(from, from + part.size(), part.begin());
    from += part.size();
  }
}

comm::call_options options_of(const task& what, const std::source_location& at) {
  return {at, what.rank->call_timeout};
}

}  // namespace

barrier_context::barrier_context(const task& what, task_environment& environment)
    : task_(what), environment_(environment) {
  if (!what.rank || environment.gang == nullptr) {
    throw failure({errc::internal, "a task of a barrier stage was started without its gang", what.label, {}});
  }
  if (const auto& r = what.rank->restore; r && (!r->replicated || rank() == 0)) {
    pieces_.push_back({r->step, checkpoint_path(what.storage_dir, what.request, r->written_by, r->step, rank())});
  }
}

comm::group& barrier_context::gang() const {
  return *environment_.gang;
}
std::uint32_t barrier_context::rank() const {
  return gang().rank();
}
std::uint32_t barrier_context::size() const {
  return gang().size();
}
std::uint32_t barrier_context::attempt() const {
  return task_.rank->gang_try;
}
bool barrier_context::stop_requested() const {
  return environment_.abort.is_set();
}

void barrier_context::barrier(site at) {
  value_or_throw(gang().barrier(options_of(task_, at)));
}

void barrier_context::reduce(barrier_detail::numbers& all, comm::reduction how, const site& at) {
  const auto options = options_of(task_, at);
  reduce_all(gang(), all.floats, how, options);
  reduce_all(gang(), all.doubles, how, options);
  reduce_all(gang(), all.integers, how, options);
}

std::vector<byte_buffer> barrier_context::gather(byte_view mine, const site& at) {
  return value_or_throw(gang().all_gather(mine, options_of(task_, at)));
}

void barrier_context::send_from(std::uint32_t root, byte_buffer& bytes, const site& at) {
  value_or_throw(gang().broadcast(root, bytes, options_of(task_, at)));
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
  const auto all = gather(data::encode_value(mine), at);
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
