#pragma once
// Element types and the one order in which contributions are added.
//
// The sum of P contributions is a binary tree over rank numbers, split at the largest power of two below P:
// tree(a..b) = tree(a..a+k) + tree(a+k..b). Every algorithm, link, chunk size and placement uses `combine`, so all of
// them give the same bits. min and max take the first argument unless the second is strictly smaller (larger); `mean`
// is the sum divided by P once. Integer sums wrap. Pure functions, any thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace hydrogen::comm {

enum class element : std::uint8_t { none, float32, float64, int64 };
enum class reduction : std::uint8_t { sum, min, max, mean };

std::size_t size_of(element);
std::string_view to_string(element);
std::string_view to_string(reduction);

template <class T>
inline constexpr element element_of = element::none;
template <>
inline constexpr element element_of<float> = element::float32;
template <>
inline constexpr element element_of<double> = element::float64;
template <>
inline constexpr element element_of<std::int64_t> = element::int64;

/// Combines `count` elements of every source, in rank order, and stores the result into every destination. Sources and
/// destinations are aligned for the element type; a destination may be one of the sources, other overlaps may not be.
void combine(element, reduction, std::span<const std::byte* const> sources, std::size_t count,
             std::span<std::byte* const> destinations);

}  // namespace hydrogen::comm
