#pragma once
// A kernel of an application that takes a time that is known and then writes a word. By the thread of the stream.

#include <hydrogen/gpu/stream.hpp>

#include <cstdint>

namespace hydrogen::bench {

/// At 1.75 GHz, about what cards have under load; others take as much longer or less on both sides of a comparison.
inline constexpr std::uint64_t cycles_of_200_us = 350'000;

/// One thread in one block: waits for so many cycles of its multiprocessor, then the word becomes `value`, for whoever
/// looks at it: of pinned memory the host, too.
void launch_timed(gpu::stream&, std::uint64_t cycles, std::uint64_t value, const gpu::buffer<std::uint64_t>& word);

}  // namespace hydrogen::bench
