#pragma once
// What collectives must give, from the definition alone: one element after the other, in one thread.

#include <hydrogen/base/ids.hpp>
#include <hydrogen/base/random.hpp>
#include <hydrogen/comm/element.hpp>

#include <cstring>
#include <functional>
#include <vector>

namespace hydrogen::comm::testing {

template <class T>
inline constexpr bool is_narrow = std::is_same_v<T, half> || std::is_same_v<T, bfloat16>;
template <class T>
using wide = std::conditional_t<is_narrow<T>, float, T>;

/// Numbers of magnitudes far apart, so that another order gives another result.
template <class T>
std::vector<T> values(std::uint64_t seed, std::size_t count) {
  random_source random(seed);
  std::vector<T> x(count);
  const std::uint64_t largest = std::is_same_v<T, half> ? 12 : std::is_same_v<T, std::int32_t> ? 30 : 40;
  for (auto& v : x) {
    const auto number = (random.unit() - 0.5) * static_cast<double>(1ULL << random.below(largest));
    v = static_cast<T>(static_cast<wide<T>>(number));
  }
  return x;
}

/// What a reduction must give: one tree over ranks, split at the largest power of two below; narrow numbers as float,
/// rounded once.
template <class T>
std::vector<T> reduced(const std::vector<std::vector<T>>& all, reduction how) {
  using W = wide<T>;
  const auto combine = [how](W a, W b) -> W {
    switch (how) {
      case reduction::min:
        return b < a ? b : a;
      case reduction::max:
        return b > a ? b : a;
      case reduction::product:
        if constexpr (std::is_integral_v<W>) {
          using U = std::make_unsigned_t<W>;
          return static_cast<W>(static_cast<U>(a) * static_cast<U>(b));
        } else {
          return a * b;
        }
      default:
        if constexpr (std::is_integral_v<W>) {
          using U = std::make_unsigned_t<W>;
          return static_cast<W>(static_cast<U>(a) + static_cast<U>(b));
        } else {
          return a + b;
        }
    }
  };
  std::vector<T> out(all[0].size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::function<W(std::size_t, std::size_t)> tree = [&](std::size_t from, std::size_t n) -> W {
      if (n == 1) return static_cast<W>(all[from][i]);
      std::size_t half = 1;
      while (half * 2 < n) half *= 2;
      const auto left = tree(from, half);
      return combine(left, tree(from + half, n - half));
    };
    auto value = tree(0, all.size());
    if (how == reduction::mean) value = value / static_cast<W>(all.size());
    out[i] = static_cast<T>(value);
  }
  return out;
}

template <class T>
bool same_bits(std::span<const T> a, std::span<const T> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return same_bits<T>(std::span(a), std::span(b));
}

}  // namespace hydrogen::comm::testing
