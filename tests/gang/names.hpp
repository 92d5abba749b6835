#pragma once
// The run and the application of the tests of one machine.

#include <hydrogen/gang/messages.hpp>

namespace hydrogen::gang::testing {

inline const run_id run{1, 1};
inline const application_ref app{run, "app", "", {}, 0, {}, ""};

}  // namespace hydrogen::gang::testing
