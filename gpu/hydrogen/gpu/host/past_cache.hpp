#pragma once
// Outputs that are much larger than the cache are written past it: a line that is written whole need not be read
// before, a third of the traffic of a copy.

#include <algorithm>
#include <cstddef>

namespace hydrogen::gpu::host {

/// From this many bytes on. Below, who reads them next finds them in the cache.
inline constexpr std::size_t past_cache_from = std::size_t{8} << 20;

/// As memcpy. Before another thread reads it, `finish_past_cache`.
void write_past_cache(void* to, const void* from, std::size_t bytes);
void finish_past_cache();

/// compute(to + first, first, count) for all n elements of an output; through a small block in the first-level cache
/// if it is large and `only_written`, so that nothing of it is an input.
template <class T, class Compute>
void write_output(T* to, std::size_t n, bool only_written, Compute&& compute) {
  // Short, so that reading what is next and writing overlap.
  constexpr std::size_t block = 2048 / sizeof(T);
  if (!only_written || n < past_cache_from / sizeof(T)) return compute(to, std::size_t{0}, n);
  alignas(64) T values[block];
  for (std::size_t first = 0; first < n; first += block) {
    const std::size_t count = std::min(block, n - first);
    compute(values, first, count);
    write_past_cache(to + first, values, count * sizeof(T));
  }
  finish_past_cache();
}

}  // namespace hydrogen::gpu::host
