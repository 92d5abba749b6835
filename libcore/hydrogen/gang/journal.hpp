#pragma once
// The coordinator's journal: append records, make them durable, read them back after a restart. Two kinds behind one
// interface: a file in a directory, and memory. One thread at a time; `sync` of the file kind blocks for one fdatasync.
// Group commit is the caller's: append what has come, sync once, then tell the admission machine `synced{n}`.
//
// The file kind holds a lock on its directory as long as it lives, so that a journal has one writer.

#include <hydrogen/gang/record.hpp>

#include <memory>
#include <string>
#include <vector>

namespace hydrogen::gang {

class journal {
 public:
  virtual ~journal() = default;

  /// What was durable when it was opened, in order, without what replay ignores (see `replayable`).
  virtual const std::vector<record>& history() const = 0;

  /// Takes the record; it is not durable yet.
  virtual void append(const record&) = 0;

  /// Makes everything appended durable, and returns how many records that is since it was opened: the n of
  /// admission's `synced{n}`. After an error nothing is known about the disk: the journal refuses everything from
  /// then on and the process must end.
  virtual expected<std::uint64_t> sync() = 0;
};

/// Opens or makes the journal in `directory` (made if it is not there). A torn end, of the last sync before a crash, is
/// cut off. Errors: refused (another process has it; its pid is named), bad_input (damage, with file and offset), io.
expected<std::unique_ptr<journal>> open_file_journal(const std::string& directory);

/// Where a memory journal keeps its durable records: survives the journal, as a disk does.
using memory_records = std::shared_ptr<std::vector<record>>;
/// Records appended and not synced are gone with the journal, as after a crash.
std::unique_ptr<journal> open_memory_journal(memory_records store = std::make_shared<std::vector<record>>());

/// Without records that were written under a term below that of a `term` record before them: an old coordinator that
/// woke up.
std::vector<record> replayable(std::vector<record> all);

}  // namespace hydrogen::gang
