#pragma once
// Copies between pinned memory and a GPU, beside those of the CUDA runtime alone. Main thread.

#include "bench_device.hpp"

namespace hydrogen::bench {

void measure_pinned_copies(session&, const gpu::device_info&);

}  // namespace hydrogen::bench
