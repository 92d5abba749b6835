#pragma once
// Element types and the one order in which contributions are added.
//
// The sum of P contributions is a binary tree over rank numbers, split at the largest power of two below P:
// tree(a..b) = tree(a..a+k) + tree(a+k..b). Every algorithm, link, chunk size and placement uses `combine`, so all of
// them give the same bits. Products are made in the same order. half and bfloat16 are combined as float, and rounded
// once. min and max take the first argument unless the second is strictly smaller (larger); `mean` is the sum divided
// by P once. Sums and products of integers wrap. Pure functions, any thread.

#include <hydrogen/base/half.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace hydrogen::comm {

enum class element : std::uint8_t { none, float32, float64, int64, int32, float16, bfloat16 };
enum class reduction : std::uint8_t { sum, min, max, mean, product };

std::size_t size_of(element);
std::string_view to_string(element);
std::string_view to_string(reduction);
constexpr bool is_integer(element kind) {
  return kind == element::int32 || kind == element::int64;
}

template <class T>
inline constexpr element element_of = element::none;
template <>
inline constexpr element element_of<float> = element::float32;
template <>
inline constexpr element element_of<double> = element::float64;
template <>
inline constexpr element element_of<std::int64_t> = element::int64;
template <>
inline constexpr element element_of<std::int32_t> = element::int32;
template <>
inline constexpr element element_of<half> = element::float16;
template <>
inline constexpr element element_of<bfloat16> = element::bfloat16;

template <class T>
concept number = element_of<T>
!= element::none;

/// Combines `count` elements of every source, in rank order, and stores the result into every destination. Sources and
/// destinations are aligned for the element type; a destination may be one of the sources, other overlaps may not be.
/// `weights`: how many ranks each source stands for, as the combination of theirs; none: one each. Each must be a whole
/// branch of the tree over all ranks, and no type narrower than what it is combined as. `streamed`: one more
/// destination, which another core reads next (base/streamed_copy.hpp). Takes no memory, throws nothing.
void combine(element, reduction, std::span<const std::byte* const> sources, std::size_t count,
             std::span<std::byte* const> destinations, std::span<const std::uint32_t> weights = {},
             std::byte* streamed = nullptr);

/// half and bfloat16: float, exactly. Back: rounded. `count` elements.
bool is_narrow(element);
void widen(element from, const std::byte* source, std::size_t count, float* destination);
void narrow(const float* source, std::size_t count, element to, std::byte* destination);
/// Divides numbers that are no integers, where they are: the end of a mean whose sum was made in several steps.
void divide(element, std::size_t count, std::uint32_t divisor, std::byte* data);

/// Which part of a buffer belongs to a rank, in elements, where a call divides one among all ranks.
struct share {
  std::size_t begin = 0;
  std::size_t count = 0;
};
constexpr share share_of(std::size_t count, std::uint32_t rank, std::uint32_t ranks) {
  const auto begin = count * rank / ranks;
  return {begin, count * (rank + 1) / ranks - begin};
}

}  // namespace hydrogen::comm
