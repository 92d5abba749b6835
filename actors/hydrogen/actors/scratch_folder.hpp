#pragma once
// Temporary folders of local clusters: hydrogen-XXXXXX in the system's folder for such things. One goes with its
// object; when its process is ended by force, `remove_scratch_folders` takes it along; and what a killed process left,
// the next one sweeps up. A process owns a folder as long as it holds the lock of the file `owner` in it.

#include <hydrogen/base/error.hpp>
#include <hydrogen/base/unique_fd.hpp>

#include <string>

namespace hydrogen::actors {

class scratch_folder {
 public:
  /// Sweeps first. Errors: io.
  static expected<scratch_folder> make();
  scratch_folder() = default;
  scratch_folder(scratch_folder&&) = default;
  scratch_folder& operator=(scratch_folder&&) = default;
  /// Removes it with all that is in it; one that was never made, or was moved from, does nothing.
  ~scratch_folder();

  const std::string& path() const { return path_; }

 private:
  std::string path_;
  unique_fd owner_;
};

/// For the forced end of the process: removes the folders that it owns. Any thread; not in a signal handler.
void remove_scratch_folders();

}  // namespace hydrogen::actors
