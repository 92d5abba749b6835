#pragma once
// Eight actors with queues of their own on one GPU beside one that does the work of all. Main thread.

#include <hydrogen/gpu/device.hpp>

#include "bench.hpp"

namespace hydrogen::bench {

void measure_streams(session&, const gpu::device_info&);

}  // namespace hydrogen::bench
