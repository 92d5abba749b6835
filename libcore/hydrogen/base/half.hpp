#pragma once
// Floating-point numbers of 16 bits, for storage and the wire: they are computed with as float. Conversion from float
// rounds to nearest, ties to even; a NaN stays a NaN, what is too large becomes infinity. Branches are selections, so
// that loops over arrays become vector code. Formats: IEEE 754-2019 binary16; bfloat16 is the upper half of binary32.
// Plain values.

#include <bit>
#include <cstdint>

namespace hydrogen {

struct half {
  std::uint16_t bits = 0;

  half() = default;
  explicit constexpr half(float value) : bits(from(std::bit_cast<std::uint32_t>(value))) {}
  explicit constexpr operator float() const {
    const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16;
    const std::uint32_t moved = std::uint32_t{bits & 0x7fffu} << 13;
    // Below 2^-14 the exponent is 0: the number is what 2^-14 + it has above 2^-14.
    const auto small = std::bit_cast<std::uint32_t>(std::bit_cast<float>(moved | 0x38800000u) - 0x1p-14f);
    const auto finite = moved < 0x00800000u ? small : moved + 0x38000000u;
    return std::bit_cast<float>(sign | (moved < 0x0f800000u ? finite : moved | 0x7f800000u));
  }
  friend bool operator==(half, half) = default;  // of the bits
  template <class I>
  friend auto inspect(I& f, half& x) {
    return f(x.bits);
  }

 private:
  static constexpr std::uint16_t from(std::uint32_t f) {
    const std::uint32_t size = f & 0x7fffffffu;
    // Between 0.5 and 1 a float steps by 2^-24, as binary16 does below 2^-14: the addition rounds.
    const auto small = std::bit_cast<std::uint32_t>(std::bit_cast<float>(size) + 0.5f) - 0x3f000000u;
    const auto normal = (size + 0xfffu + (size >> 13 & 1u) - 0x38000000u) >> 13;
    const auto finite = size < 0x38800000u ? small : normal;
    const auto large = size > 0x7f800000u ? 0x7e00u | (size >> 13 & 0x3ffu) : 0x7c00u;
    // From 65520 on, halfway to what would be next, numbers round to infinity.
    return static_cast<std::uint16_t>((f >> 16 & 0x8000u) | (size < 0x477ff000u ? finite : large));
  }
};

struct bfloat16 {
  std::uint16_t bits = 0;

  bfloat16() = default;
  explicit constexpr bfloat16(float value) : bits(from(std::bit_cast<std::uint32_t>(value))) {}
  explicit constexpr operator float() const { return std::bit_cast<float>(std::uint32_t{bits} << 16); }
  friend bool operator==(bfloat16, bfloat16) = default;  // of the bits
  template <class I>
  friend auto inspect(I& f, bfloat16& x) {
    return f(x.bits);
  }

 private:
  static constexpr std::uint16_t from(std::uint32_t f) {
    const auto rounded = (f + 0x7fffu + (f >> 16 & 1u)) >> 16;
    return static_cast<std::uint16_t>((f & 0x7fffffffu) > 0x7f800000u ? f >> 16 | 0x40u : rounded);
  }
};

}  // namespace hydrogen
