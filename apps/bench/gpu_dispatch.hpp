#pragma once
// What an actor adds to a launch on a GPU, and how soon it hears of the end of its work. Main thread.

#include <hydrogen/gpu/device.hpp>

#include "bench.hpp"

namespace hydrogen::bench {

void measure_gpu_dispatch(session&, const gpu::device_info&);

}  // namespace hydrogen::bench
