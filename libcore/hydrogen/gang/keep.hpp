#pragma once
// The one policy of a restarted coordinator: which of the entries in an agent's list go on.

#include <hydrogen/gang/messages.hpp>

namespace hydrogen::gang {

/// `open_go`: the journal holds a Go of this attempt that is not closed. Without one an entry can never be kept. A gang
/// that may have begun goes on; what its agent is ending does not, nor do leases: their jobs run again what they had
/// not finished.
inline bool keep(const entry_report& e, bool open_go) {
  return open_go && e.kind == request_kind::gang &&
         (e.state == entry_state::committed || e.state == entry_state::joining || e.state == entry_state::running);
}

}  // namespace hydrogen::gang
