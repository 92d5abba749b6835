#include <hydrogen/base/half.hpp>
#include <hydrogen/base/random.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>

using namespace hydrogen;

namespace {

template <class Narrow>
Narrow of_bits(std::uint32_t bits) {
  Narrow n;
  n.bits = static_cast<std::uint16_t>(bits);
  return n;
}

template <class Narrow>
double number(std::uint32_t bits) {
  return static_cast<double>(static_cast<float>(of_bits<Narrow>(bits)));
}

/// The nearest representable number, found by trying: of two as near the one with an even last bit. `top`: infinity.
template <class Narrow>
std::uint16_t nearest(float f, std::uint16_t top) {
  const double size = std::fabs(static_cast<double>(f));
  std::uint32_t low = 0, high = top;
  while (high - low > 1) {
    const auto middle = (low + high) / 2;
    (number<Narrow>(middle) <= size ? low : high) = middle;
  }
  // Infinity stands where the next number would.
  const double above = high == top ? 2 * number<Narrow>(top - 1u) - number<Narrow>(top - 2u) : number<Narrow>(high);
  const double down = size - number<Narrow>(low), up = above - size;
  const bool goes_up = std::isinf(f) || up < down || (up == down && low % 2 == 1);
  return static_cast<std::uint16_t>((goes_up ? high : low) | (std::signbit(f) ? 0x8000u : 0u));
}

template <class Narrow>
void check_rounding(std::uint16_t top) {
  random_source random(7);
  for (int i = 0; i < 200'000; ++i) {
    const auto f = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (std::isnan(f)) continue;
    CHECK_MESSAGE(Narrow(f).bits == nearest<Narrow>(f, top), f);
  }
  // Halfway between every two neighbours, and a hair beside it.
  for (std::uint32_t bits = 0; bits + 1 < top; ++bits) {
    const auto middle = static_cast<float>((number<Narrow>(bits) + number<Narrow>(bits + 1)) / 2);
    for (const float f : {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1e30f), -middle}) {
      if (Narrow(f).bits != nearest<Narrow>(f, top)) CHECK_MESSAGE(Narrow(f).bits == nearest<Narrow>(f, top), f);
    }
  }
}

}  // namespace

TEST_CASE("every number of 16 bits is the same after a way through float") {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float h = static_cast<float>(of_bits<half>(bits)), b = static_cast<float>(of_bits<bfloat16>(bits));
    if (std::isnan(h)) CHECK(std::isnan(static_cast<float>(half(h))));
    if (!std::isnan(h) && half(h).bits != bits) CHECK(half(h).bits == bits);
    if (std::isnan(b)) CHECK(std::isnan(static_cast<float>(bfloat16(b))));
    if (!std::isnan(b) && bfloat16(b).bits != bits) CHECK(bfloat16(b).bits == bits);
  }
}

TEST_CASE("numbers of 16 bits have the values that IEEE 754 gives them") {
  CHECK(number<half>(0x3c00) == 1.0);
  CHECK(number<half>(0x0001) == 0x1p-24);
  CHECK(number<half>(0x0400) == 0x1p-14);
  CHECK(number<half>(0x7bff) == 65504.0);
  CHECK(number<half>(0xc000) == -2.0);
  CHECK(std::isinf(number<half>(0x7c00)));
  CHECK(number<bfloat16>(0x3f80) == 1.0);
  CHECK(half(65519.0f).bits == 0x7bff);
  CHECK(half(65520.0f).bits == 0x7c00);
  CHECK(std::isnan(static_cast<float>(half(std::numeric_limits<float>::quiet_NaN()))));
}

TEST_CASE("conversion from float rounds to the nearest, ties to even") {
  check_rounding<half>(0x7c00);
  check_rounding<bfloat16>(0x7f80);
}
