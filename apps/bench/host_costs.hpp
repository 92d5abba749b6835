#pragma once
// What this machine's cores need for messages, copies and additions: constants of the network model. Main thread only.

#include <network/prediction.hpp>

#include <string>

namespace hydrogen::bench {

/// Fills in the constants of a core, measured now in about a second, and those of shared memory. Throws `failure`.
void measure_cores(network_constants&, bool quick);
std::string text_of(const network_constants&);

}  // namespace hydrogen::bench
