#pragma once
// What cores need for messages, copies and additions: constants of the network model. Main thread only.

#include <network/prediction.hpp>

#include <string>

namespace hydrogen::bench {

/// Fills in the constants of a core and of shared memory as they were measured on the machine of docs/performance.md
/// when nothing else ran, so that what is predicted from them is the same everywhere.
void assume_cores(network_constants&);
/// The same, those of a core measured now, in about a second. Throws `failure`.
void measure_cores(network_constants&, bool quick);
std::string text_of(const network_constants&);

}  // namespace hydrogen::bench
