#pragma once
// The one policy of a restarted coordinator: which of the entries in an agent's list go on.

#include <hydrogen/gang/messages.hpp>

namespace hydrogen::gang {

/// `open_go`: the journal holds a Go of this attempt that is not closed. An entry without one can never be kept. For
/// now nothing is: the job gets `ended(restart)`, which burns no retry, and runs again what it had not finished.
inline bool keep(const entry_report&, bool open_go) {
  constexpr bool gangs_go_on = false;
  return open_go && gangs_go_on;
}

}  // namespace hydrogen::gang
