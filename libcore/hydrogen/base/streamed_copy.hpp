#pragma once
// Copies whose destination does not stay in this core's caches (non-temporal stores, where the processor has them): for
// what another core reads next, into memory that it has read before. An ordinary store has to take each line away from
// the reader first. On the machine of docs/performance.md 64 KiB written so and read by the other core take 5.5 us;
// with ordinary stores 8.6, and up to 32 when the host is busy. Any thread.

#include <cstddef>

namespace hydrogen {

/// What was copied may become visible later than what is stored afterwards, up to `end_streamed_copies`.
void streamed_copy(std::byte* to, const std::byte* from, std::size_t size);
/// Before others are told.
void end_streamed_copies();

}  // namespace hydrogen
