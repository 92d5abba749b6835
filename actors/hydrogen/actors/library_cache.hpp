#pragma once
// How a node gets the library of a run: by content hash from its cache, else from the path that the driver named if the
// same file lies there, else over a block link from the driver.

#include <hydrogen/comm/secret.hpp>
#include <hydrogen/gang/messages.hpp>

#include <string>

namespace hydrogen::actors {

/// The path of a file with exactly these bytes. A file is written under another name, checked, and renamed into place,
/// so two executors that fetch at once do not disturb each other. Blocks; not on a CAF worker.
expected<std::string> library_in_cache(const gang::application_ref&, const std::string& cache_dir, const comm::secret&,
                                       boot_id self);

}  // namespace hydrogen::actors
