#include <hydrogen/base/error.hpp>
#include <hydrogen/comm/element.hpp>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <type_traits>

namespace hydrogen::comm {
namespace {

// Sums are made in pieces that stay in the first-level cache between being read and being stored everywhere.
constexpr std::size_t chunk_bytes = 4096;

template <class T>
struct add {
  static T of(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      using U = std::make_unsigned_t<T>;
      return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
    } else {
      return a + b;
    }
  }
};
template <class T>
struct smaller {
  static T of(T a, T b) { return b < a ? b : a; }
};
template <class T>
struct larger {
  static T of(T a, T b) { return b > a ? b : a; }
};

/// out[i] = tree over source[0][i] .. source[n-1][i], n >= 2, count <= chunk. `out` overlaps no source.
template <class T, template <class> class Op>
void fold(const T* const* source, std::size_t n, std::size_t count, T* __restrict out) {
  const T* a = source[0];
  const T* b = source[1];
  if (n == 2) {
    for (std::size_t i = 0; i < count; ++i) out[i] = Op<T>::of(a[i], b[i]);
  } else if (n == 3) {
    const T* c = source[2];
    for (std::size_t i = 0; i < count; ++i) out[i] = Op<T>::of(Op<T>::of(a[i], b[i]), c[i]);
  } else if (n == 4) {
    const T* c = source[2];
    const T* d = source[3];
    for (std::size_t i = 0; i < count; ++i) out[i] = Op<T>::of(Op<T>::of(a[i], b[i]), Op<T>::of(c[i], d[i]));
  } else {
    const auto left = std::bit_floor(n - 1);
    fold<T, Op>(source, left, count, out);
    T memory[chunk_bytes / sizeof(T)];
    const T* right = source[left];
    if (n - left > 1) {
      fold<T, Op>(source + left, n - left, count, memory);
      right = memory;
    }
    for (std::size_t i = 0; i < count; ++i) out[i] = Op<T>::of(out[i], right[i]);
  }
}

template <class T, template <class> class Op>
void combine_as(bool mean, std::span<const std::byte* const> sources, std::size_t count,
                std::span<std::byte* const> destinations) {
  constexpr std::size_t chunk = chunk_bytes / sizeof(T);
  constexpr std::size_t few = 16;
  const std::size_t ranks = sources.size();
  const T* small[few];
  std::unique_ptr<const T*[]> many;
  const T** at = small;
  if (ranks > few) {
    many = std::make_unique<const T*[]>(ranks);
    at = many.get();
  }
  alignas(64) T sum[chunk];
  for (std::size_t first = 0; first < count; first += chunk) {
    const auto n = std::min(chunk, count - first);
    for (std::size_t r = 0; r < ranks; ++r) at[r] = reinterpret_cast<const T*>(sources[r]) + first;
    if (ranks == 1) {
      std::memcpy(sum, at[0], n * sizeof(T));
    } else {
      fold<T, Op>(at, ranks, n, sum);
    }
    if (mean) {
      const T divisor = static_cast<T>(ranks);
      for (std::size_t i = 0; i < n; ++i) sum[i] = sum[i] / divisor;
    }
    for (auto* to : destinations) std::memcpy(reinterpret_cast<T*>(to) + first, sum, n * sizeof(T));
  }
}

template <class T>
void combine_of(reduction how, std::span<const std::byte* const> sources, std::size_t count,
                std::span<std::byte* const> destinations) {
  switch (how) {
    case reduction::sum:
      return combine_as<T, add>(false, sources, count, destinations);
    case reduction::mean:
      return combine_as<T, add>(true, sources, count, destinations);
    case reduction::min:
      return combine_as<T, smaller>(false, sources, count, destinations);
    case reduction::max:
      return combine_as<T, larger>(false, sources, count, destinations);
  }
}

}  // namespace

std::size_t size_of(element kind) {
  switch (kind) {
    case element::none:
      return 1;
    case element::float32:
      return 4;
    case element::float64:
    case element::int64:
      return 8;
  }
  return 1;
}

std::string_view to_string(element kind) {
  switch (kind) {
    case element::none:
      return "bytes";
    case element::float32:
      return "float";
    case element::float64:
      return "double";
    case element::int64:
      return "int64";
  }
  return "unknown";
}

std::string_view to_string(reduction how) {
  switch (how) {
    case reduction::sum:
      return "sum";
    case reduction::min:
      return "min";
    case reduction::max:
      return "max";
    case reduction::mean:
      return "mean";
  }
  return "unknown";
}

void combine(element kind, reduction how, std::span<const std::byte* const> sources, std::size_t count,
             std::span<std::byte* const> destinations) {
  invariant(!sources.empty(), "combine without sources");
  switch (kind) {
    case element::float32:
      return combine_of<float>(how, sources, count, destinations);
    case element::float64:
      return combine_of<double>(how, sources, count, destinations);
    case element::int64:
      return combine_of<std::int64_t>(how, sources, count, destinations);
    case element::none:
      broken_invariant("combine of bytes");
  }
}

}  // namespace hydrogen::comm
