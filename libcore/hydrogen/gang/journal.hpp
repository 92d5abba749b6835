#pragma once
// The coordinator's journal: append records, make them durable, read them back after a restart. Two kinds behind one
// interface: a file in a directory, and memory. One thread at a time; `sync` of the file kind blocks for one write to
// the disk. Group commit is the caller's: append what has come, sync once, then tell the admission machine `synced{n}`.
//
// The file kind holds a lock on its directory as long as it lives, so that a journal has one writer. It stays small:
// when it has grown enough, it is written anew with what its records come to (digest.hpp).

#include <hydrogen/gang/digest.hpp>

#include <memory>
#include <string>
#include <vector>

namespace hydrogen::gang {

class journal {
 public:
  virtual ~journal() = default;

  /// What the records come to that were durable when it was opened. What was appended since may count already.
  virtual const digest& known() const = 0;

  /// Takes the record; it is not durable yet.
  virtual void append(const record&) = 0;

  /// Makes everything appended durable, and returns how many records that is since it was opened: the n of
  /// admission's `synced{n}`. After an error nothing is known about the disk: the journal refuses everything from
  /// then on and the process must end.
  virtual expected<std::uint64_t> sync() = 0;

  /// Since the last sync: the disk is full, and what room is left is for the ends of what runs. errc::none: there is
  /// room. Every sync looks again, also one of nothing.
  virtual const error& shortage() const = 0;
};

struct file_journal_options {
  /// The file is written anew when it has grown by this since the last time, and to twice its size then.
  std::uint64_t compact_after = 4 << 20;
};

/// Opens or makes the journal in `directory` (made if it is not there). A torn end, of the last sync before a crash, is
/// cut off. Errors: refused (another process has it; its pid is named), bad_input (damage, with file and offset), io.
expected<std::unique_ptr<journal>> open_file_journal(const std::string& directory, file_journal_options = {});

/// Where a memory journal keeps what is durable: survives the journal, as a disk does.
using memory_disk = std::shared_ptr<digest>;
/// Records appended and not synced are gone with the journal, as after a crash.
std::unique_ptr<journal> open_memory_journal(memory_disk = std::make_shared<digest>());

}  // namespace hydrogen::gang
