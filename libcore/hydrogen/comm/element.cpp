#include <hydrogen/base/error.hpp>
#include <hydrogen/base/streamed_copy.hpp>
#include <hydrogen/comm/element.hpp>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <numeric>
#include <type_traits>

namespace hydrogen::comm {
namespace {

// Sums are made in pieces that stay in the first-level cache between being read and being stored everywhere.
constexpr std::size_t chunk_bytes = 4096;

template <class T>
constexpr bool narrow_type = std::is_same_v<T, half> || std::is_same_v<T, bfloat16>;
/// What numbers of a type are combined as.
template <class T>
using wide = std::conditional_t<narrow_type<T>, float, T>;

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
struct multiply {
  static T of(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      using U = std::make_unsigned_t<T>;
      return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
    } else {
      return a * b;
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

/// How many of the sources are in the left branch.
std::size_t left_of(std::size_t n, const std::uint32_t* weights) {
  if (weights == nullptr) return std::bit_floor(n - 1);
  std::size_t all = 0;
  for (std::size_t i = 0; i < n; ++i) all += weights[i];
  std::size_t left = 0;
  std::size_t ranks = 0;
  while (ranks < std::bit_floor(all - 1)) ranks += weights[left++];
  invariant(ranks == std::bit_floor(all - 1), "a source stands for ranks that are no branch of the tree");
  return left;
}

/// The elements of a source from `first` on.
template <class T>
const T* from(const std::byte* source, std::size_t first) {
  return reinterpret_cast<const T*>(source) + first;
}

/// out[i] = tree over the elements first + i of n >= 1 sources, count <= chunk. `out` overlaps no source.
template <class T, template <class> class Op>
void fold(const std::byte* const* source, std::size_t n, std::size_t first, std::size_t count, wide<T>* __restrict out,
          const std::uint32_t* weights = nullptr) {
  using W = wide<T>;
  const T* a = from<T>(source[0], first);
  if (n == 1) {
    for (std::size_t i = 0; i < count; ++i) out[i] = W(a[i]);
    return;
  }
  const T* b = from<T>(source[1], first);
  if (n == 2) {
    for (std::size_t i = 0; i < count; ++i) out[i] = Op<W>::of(W(a[i]), W(b[i]));
  } else if (n == 3 && weights == nullptr) {
    const T* c = from<T>(source[2], first);
    for (std::size_t i = 0; i < count; ++i) out[i] = Op<W>::of(Op<W>::of(W(a[i]), W(b[i])), W(c[i]));
  } else if (n == 4 && weights == nullptr) {
    const T* c = from<T>(source[2], first);
    const T* d = from<T>(source[3], first);
    for (std::size_t i = 0; i < count; ++i) {
      out[i] = Op<W>::of(Op<W>::of(W(a[i]), W(b[i])), Op<W>::of(W(c[i]), W(d[i])));
    }
  } else {
    const auto left = left_of(n, weights);
    fold<T, Op>(source, left, first, count, out, weights);
    if (n - left == 1) {
      const T* right = from<T>(source[left], first);
      for (std::size_t i = 0; i < count; ++i) out[i] = Op<W>::of(out[i], W(right[i]));
      return;
    }
    W right[chunk_bytes / sizeof(W)];
    fold<T, Op>(source + left, n - left, first, count, right, weights == nullptr ? nullptr : weights + left);
    for (std::size_t i = 0; i < count; ++i) out[i] = Op<W>::of(out[i], right[i]);
  }
}

/// A chunk of the result into every destination.
template <class T>
void store(const T* chunk, std::size_t n, std::size_t first, std::span<std::byte* const> destinations,
           std::byte* streamed) {
  for (auto* to : destinations) std::memcpy(reinterpret_cast<T*>(to) + first, chunk, n * sizeof(T));
  if (streamed == nullptr) return;
  streamed_copy(streamed + first * sizeof(T), reinterpret_cast<const std::byte*>(chunk), n * sizeof(T));
}

template <class T, template <class> class Op>
void combine_as(bool mean, std::span<const std::byte* const> sources, std::size_t count,
                std::span<std::byte* const> destinations, std::span<const std::uint32_t> weights, std::byte* streamed) {
  using W = wide<T>;
  constexpr std::size_t chunk = chunk_bytes / sizeof(W);
  const std::size_t ranks = sources.size();
  const std::uint32_t* branches = weights.empty() ? nullptr : weights.data();
  const auto divisor = static_cast<W>(std::accumulate(weights.begin(), weights.end(), weights.empty() ? ranks : 0));
  alignas(64) W sum[chunk];
  for (std::size_t first = 0; first < count; first += chunk) {
    const auto n = std::min(chunk, count - first);
    fold<T, Op>(sources.data(), ranks, first, n, sum, branches);
    if (mean) {
      for (std::size_t i = 0; i < n; ++i) sum[i] = sum[i] / divisor;
    }
    if constexpr (narrow_type<T>) {
      alignas(64) T rounded[chunk];
      for (std::size_t i = 0; i < n; ++i) rounded[i] = T(sum[i]);
      store(rounded, n, first, destinations, streamed);
    } else {
      store(sum, n, first, destinations, streamed);
    }
  }
  if (streamed != nullptr) end_streamed_copies();
}

template <class T>
void combine_of(reduction how, std::span<const std::byte* const> sources, std::size_t count,
                std::span<std::byte* const> destinations, std::span<const std::uint32_t> weights, std::byte* streamed) {
  switch (how) {
    case reduction::sum:
      return combine_as<T, add>(false, sources, count, destinations, weights, streamed);
    case reduction::mean:
      return combine_as<T, add>(true, sources, count, destinations, weights, streamed);
    case reduction::min:
      return combine_as<T, smaller>(false, sources, count, destinations, weights, streamed);
    case reduction::max:
      return combine_as<T, larger>(false, sources, count, destinations, weights, streamed);
    case reduction::product:
      return combine_as<T, multiply>(false, sources, count, destinations, weights, streamed);
  }
}

template <class T>
void divide_as(std::size_t count, std::uint32_t divisor, std::byte* data) {
  using W = wide<T>;
  auto* x = reinterpret_cast<T*>(data);
  for (std::size_t i = 0; i < count; ++i) x[i] = T(W(x[i]) / static_cast<W>(divisor));
}

}  // namespace

std::size_t size_of(element kind) {
  switch (kind) {
    case element::none:
      return 1;
    case element::float16:
    case element::bfloat16:
      return 2;
    case element::float32:
    case element::int32:
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
    case element::int32:
      return "int32";
    case element::float16:
      return "half";
    case element::bfloat16:
      return "bfloat16";
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
    case reduction::product:
      return "product";
  }
  return "unknown";
}

bool is_narrow(element kind) {
  return kind == element::float16 || kind == element::bfloat16;
}

void widen(element from, const std::byte* source, std::size_t count, float* destination) {
  const auto all = [&](const auto* x) {
    for (std::size_t i = 0; i < count; ++i) destination[i] = static_cast<float>(x[i]);
  };
  if (from == element::float16) return all(reinterpret_cast<const half*>(source));
  all(reinterpret_cast<const hydrogen::bfloat16*>(source));
}

void narrow(const float* source, std::size_t count, element to, std::byte* destination) {
  const auto all = [&]<class T>(T* x) {
    for (std::size_t i = 0; i < count; ++i) x[i] = T(source[i]);
  };
  if (to == element::float16) return all(reinterpret_cast<half*>(destination));
  all(reinterpret_cast<hydrogen::bfloat16*>(destination));
}

void combine(element kind, reduction how, std::span<const std::byte* const> sources, std::size_t count,
             std::span<std::byte* const> destinations, std::span<const std::uint32_t> weights, std::byte* streamed) {
  invariant(!sources.empty(), "combine without sources");
  invariant(weights.empty() || (weights.size() == sources.size() && !is_narrow(kind)), "combine of other weights");
  switch (kind) {
    case element::float32:
      return combine_of<float>(how, sources, count, destinations, weights, streamed);
    case element::float64:
      return combine_of<double>(how, sources, count, destinations, weights, streamed);
    case element::int64:
      return combine_of<std::int64_t>(how, sources, count, destinations, weights, streamed);
    case element::int32:
      return combine_of<std::int32_t>(how, sources, count, destinations, weights, streamed);
    case element::float16:
      return combine_of<half>(how, sources, count, destinations, weights, streamed);
    case element::bfloat16:
      return combine_of<hydrogen::bfloat16>(how, sources, count, destinations, weights, streamed);
    case element::none:
      broken_invariant("combine of bytes");
  }
}

void divide(element kind, std::size_t count, std::uint32_t divisor, std::byte* data) {
  switch (kind) {
    case element::float32:
      return divide_as<float>(count, divisor, data);
    case element::float64:
      return divide_as<double>(count, divisor, data);
    case element::float16:
      return divide_as<half>(count, divisor, data);
    case element::bfloat16:
      return divide_as<hydrogen::bfloat16>(count, divisor, data);
    case element::int32:
    case element::int64:
    case element::none:
      broken_invariant("divide of what is no floating-point number");
  }
}

}  // namespace hydrogen::comm
