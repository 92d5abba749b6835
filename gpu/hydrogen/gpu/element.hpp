#pragma once
// The types of numbers that kernels work on. Plain values; shared with device code.

#include <hydrogen/base/half.hpp>

#include <cstddef>
#include <cstdint>

namespace hydrogen::gpu {

enum class element : std::uint8_t { float32, float64, half, bfloat16, int32, uint32, int64, uint64, uint8 };

template <class T>
inline constexpr bool is_element = false;
template <class T>
inline constexpr element element_of = element::float32;

#define HYDROGEN_GPU_ELEMENT(type, name)         \
  template <>                                    \
  inline constexpr bool is_element<type> = true; \
  template <>                                    \
  inline constexpr element element_of<type> = element::name;
HYDROGEN_GPU_ELEMENT(float, float32)
HYDROGEN_GPU_ELEMENT(double, float64)
HYDROGEN_GPU_ELEMENT(hydrogen::half, half)
HYDROGEN_GPU_ELEMENT(hydrogen::bfloat16, bfloat16)
HYDROGEN_GPU_ELEMENT(std::int32_t, int32)
HYDROGEN_GPU_ELEMENT(std::uint32_t, uint32)
HYDROGEN_GPU_ELEMENT(std::int64_t, int64)
HYDROGEN_GPU_ELEMENT(std::uint64_t, uint64)
HYDROGEN_GPU_ELEMENT(std::uint8_t, uint8)
#undef HYDROGEN_GPU_ELEMENT

/// What a buffer may hold.
template <class T>
concept number = is_element<T>;

constexpr std::size_t size_of(element e) {
  switch (e) {
    case element::float64:
    case element::int64:
    case element::uint64:
      return 8;
    case element::half:
    case element::bfloat16:
      return 2;
    case element::uint8:
      return 1;
    default:
      return 4;
  }
}

/// "float", "half" and so on, for messages.
constexpr const char* to_string(element e) {
  constexpr const char* names[] = {"float",  "double", "half",   "bfloat16", "int32",
                                   "uint32", "int64",  "uint64", "uint8"};
  return names[static_cast<std::size_t>(e)];
}

}  // namespace hydrogen::gpu
