#pragma once
// Checkpoint files: STORAGE/RUN/jJ-sS-K/ATTEMPT/step-N/rank-R, one piece per rank (rank-0 alone when replicated). A
// piece is written under another name, synced, and renamed into place, so a reader never sees half of one. They serve
// further attempts of the same gang, so they go with the run. Blocking; any thread.

#include <hydrogen/exec/task.hpp>

#include <string>

namespace hydrogen::exec {

/// `request` is the gang: all its attempts have directories under it.
std::string checkpoint_path(const std::string& storage, const request_id& request, const attempt_id& attempt,
                            std::uint64_t step, std::uint32_t rank);

/// Durable when it returns.
expected<void> write_piece(const std::string& path, byte_view bytes);

/// The piece, if its hash is the one that was reported when it was written.
expected<byte_buffer> read_piece(const std::string& path, const hash128& hash);

/// Removes a piece, and its directory when it is the last one there. A missing piece is no error.
void remove_piece(const std::string& path);

/// Removes all that a run, which is over, has left under `storage`; nothing there is no error.
expected<void> remove_checkpoints(const std::string& storage, const run_id& run);

}  // namespace hydrogen::exec
