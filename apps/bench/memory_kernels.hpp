#pragma once
// Kernels that move memory, beside a copy of memory by the same device. Main thread.

#include "bench_device.hpp"

#include <cstdint>

namespace hydrogen::bench {

/// fill, axpy, reductions of ranks, casts and Adam, each moving `total` bytes or more, in alternation with a copy of so
/// much traffic. `in_a_row`: how many are enqueued at a time, so that starting them is no part of the figure.
void measure_moving_kernels(session&, bench_stream& on, std::uint64_t total, int in_a_row);

}  // namespace hydrogen::bench
