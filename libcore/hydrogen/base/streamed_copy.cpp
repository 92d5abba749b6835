#include <hydrogen/base/streamed_copy.hpp>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace hydrogen {

#if defined(__x86_64__)

void streamed_copy(std::byte* to, const std::byte* from, std::size_t size) {
  constexpr std::size_t line = 64;
  const auto head = std::min(size, (line - reinterpret_cast<std::uintptr_t>(to) % line) % line);
  std::memcpy(to, from, head);
  std::size_t at = head;
  for (; at + line <= size; at += line) {
    const auto* source = reinterpret_cast<const __m128i*>(from + at);
    auto* destination = reinterpret_cast<__m128i*>(to + at);
    const auto a = _mm_loadu_si128(source), b = _mm_loadu_si128(source + 1);
    const auto c = _mm_loadu_si128(source + 2), d = _mm_loadu_si128(source + 3);
    _mm_stream_si128(destination, a);
    _mm_stream_si128(destination + 1, b);
    _mm_stream_si128(destination + 2, c);
    _mm_stream_si128(destination + 3, d);
  }
  std::memcpy(to + at, from + at, size - at);
}

void end_streamed_copies() {
  _mm_sfence();
}

#else

void streamed_copy(std::byte* to, const std::byte* from, std::size_t size) {
  std::memcpy(to, from, size);
}

void end_streamed_copies() {}

#endif

}  // namespace hydrogen
