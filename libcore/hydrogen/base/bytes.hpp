#pragma once
// Bytes: views, owned buffers, and the codec of control messages and parameters.
//
// `encode(x)` / `decode<T>(bytes)` serve arithmetic types, enums, bool, std::string, vector, array, pair, tuple,
// optional, variant, chrono durations and every type with the usual `inspect(f, x)` that returns f(x.a, x.b, ...).
// Little-endian, no padding, lengths as 32-bit; the layout carries no type names, so both sides are of one protocol
// version (the handshake checks it). Decoding checks every length against what is left before it allocates: damaged
// or hostile bytes give an error, never a crash. Any thread.

#include <hydrogen/base/error.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace hydrogen {

using byte_view = std::span<const std::byte>;
using mutable_byte_view = std::span<std::byte>;
using byte_buffer = std::vector<std::byte>;

inline byte_view as_byte_view(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view as_text(byte_view b) {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

namespace codec_detail {

template <class T>
inline constexpr bool is_vector = false;
template <class T, class A>
inline constexpr bool is_vector<std::vector<T, A>> = true;
template <class T>
inline constexpr bool is_map = false;
template <class K, class V, class C, class A>
inline constexpr bool is_map<std::map<K, V, C, A>> = true;
template <class T>
inline constexpr bool is_array = false;
template <class T, std::size_t N>
inline constexpr bool is_array<std::array<T, N>> = true;
template <class T>
inline constexpr bool is_tuple = false;
template <class... T>
inline constexpr bool is_tuple<std::tuple<T...>> = true;
template <class A, class B>
inline constexpr bool is_tuple<std::pair<A, B>> = true;
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool is_variant = false;
template <class... T>
inline constexpr bool is_variant<std::variant<T...>> = true;
template <class T>
inline constexpr bool is_duration = false;
template <class R, class P>
inline constexpr bool is_duration<std::chrono::duration<R, P>> = true;
template <class T>
inline constexpr bool is_raw =
    (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) || std::is_enum_v<T> || std::is_same_v<T, std::byte>;

}  // namespace codec_detail

/// Appends to a buffer; also the saving side of `inspect`.
class encoder {
 public:
  using result_type = bool;
  explicit encoder(byte_buffer& out) : out_(out) {}

  template <class... Ts>
  bool operator()(Ts&... xs) {
    (put(xs), ...);
    return true;
  }

  void raw(const void* data, std::size_t size) {
    const auto at = out_.size();
    out_.resize(at + size);
    if (size != 0) std::memcpy(out_.data() + at, data, size);
  }

  template <class T>
  void put(const T& x) {
    using namespace codec_detail;
    if constexpr (std::is_same_v<T, bool>) {
      out_.push_back(std::byte{x});
    } else if constexpr (is_raw<T>) {
      raw(&x, sizeof x);
    } else if constexpr (std::is_same_v<T, std::string>) {
      length(x.size());
      raw(x.data(), x.size());
    } else if constexpr (is_vector<T>) {
      length(x.size());
      using V = typename T::value_type;
      if constexpr (is_raw<V>) {
        raw(x.data(), x.size() * sizeof(V));
      } else {
        for (const V& v : x) put(v);
      }
    } else if constexpr (is_map<T>) {
      length(x.size());
      for (const auto& [k, v] : x) put(k), put(v);
    } else if constexpr (is_array<T>) {
      for (const auto& v : x) put(v);
    } else if constexpr (is_tuple<T>) {
      std::apply([this](const auto&... v) { (put(v), ...); }, x);
    } else if constexpr (is_optional<T>) {
      put(x.has_value());
      if (x) put(*x);
    } else if constexpr (is_variant<T>) {
      put(static_cast<std::uint8_t>(x.index()));
      std::visit([this](const auto& v) { put(v); }, x);
    } else if constexpr (is_duration<T>) {
      put(static_cast<std::int64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(x).count()));
    } else {
      inspect(*this, const_cast<T&>(x));
    }
  }

 private:
  void length(std::size_t n) {
    invariant(n <= UINT32_MAX, "a value of 4 GiB or more in a control message");
    put(static_cast<std::uint32_t>(n));
  }
  byte_buffer& out_;
};

/// Reads from a view; after the first failure every further read yields zeros and `ok()` is false.
class decoder {
 public:
  using result_type = bool;
  explicit decoder(byte_view in) : in_(in) {}

  bool ok() const { return ok_; }
  std::size_t left() const { return in_.size(); }

  template <class... Ts>
  bool operator()(Ts&... xs) {
    (get(xs), ...);
    return ok_;
  }

  template <class T>
  void get(T& x) {
    using namespace codec_detail;
    if constexpr (std::is_same_v<T, bool>) {
      std::uint8_t b = 0;
      get(b);
      if (b > 1) ok_ = false;
      x = b == 1;
    } else if constexpr (is_raw<T>) {
      if (!take(sizeof x)) return;
      std::memcpy(&x, taken_, sizeof x);
    } else if constexpr (std::is_same_v<T, std::string>) {
      const auto n = length(1);
      if (take(n)) x.assign(reinterpret_cast<const char*>(taken_), n);
    } else if constexpr (is_vector<T>) {
      using V = typename T::value_type;
      if constexpr (is_raw<V>) {
        const auto n = length(sizeof(V));
        if (!take(n * sizeof(V))) return;
        x.resize(n);
        if (n != 0) std::memcpy(x.data(), taken_, n * sizeof(V));
      } else {
        const auto n = length(1);
        x.clear();
        for (std::size_t i = 0; i < n && ok_; ++i) get(x.emplace_back());
      }
    } else if constexpr (is_map<T>) {
      const auto n = length(1);
      x.clear();
      for (std::size_t i = 0; i < n && ok_; ++i) {
        typename T::key_type k{};
        get(k);
        get(x[k]);
      }
    } else if constexpr (is_array<T>) {
      for (auto& v : x) get(v);
    } else if constexpr (is_tuple<T>) {
      std::apply([this](auto&... v) { (get(v), ...); }, x);
    } else if constexpr (is_optional<T>) {
      bool has = false;
      get(has);
      if (has)
        get(x.emplace());
      else
        x.reset();
    } else if constexpr (is_variant<T>) {
      std::uint8_t index = 0;
      get(index);
      if (index >= std::variant_size_v<T>) ok_ = false;
      if (ok_) alternative(x, index, std::make_index_sequence<std::variant_size_v<T>>{});
    } else if constexpr (is_duration<T>) {
      std::int64_t n = 0;
      get(n);
      x = std::chrono::duration_cast<T>(std::chrono::nanoseconds(n));
    } else {
      inspect(*this, x);
    }
  }

 private:
  bool take(std::size_t n) {
    if (!ok_ || n > in_.size()) {
      ok_ = false;
      return false;
    }
    taken_ = in_.data();
    in_ = in_.subspan(n);
    return true;
  }
  /// A count of elements of at least `element` bytes each: no more than the bytes that are left can hold.
  std::size_t length(std::size_t element) {
    std::uint32_t n = 0;
    get(n);
    if (!ok_ || std::size_t{n} * element > in_.size()) {
      ok_ = false;
      return 0;
    }
    return n;
  }
  template <class V, std::size_t... I>
  void alternative(V& x, std::size_t index, std::index_sequence<I...>) {
    ((I == index ? get(x.template emplace<I>()) : void()), ...);
  }

  byte_view in_;
  const std::byte* taken_ = nullptr;
  bool ok_ = true;
};

template <class T>
byte_buffer encode(const T& x) {
  byte_buffer out;
  encoder(out).put(x);
  return out;
}

/// The whole of `bytes` as a T; left-over bytes are an error too.
template <class T>
expected<T> decode(byte_view bytes, std::string_view what = "message") {
  T x{};
  decoder in(bytes);
  in.get(x);
  if (!in.ok() || in.left() != 0) {
    return fail(errc::bad_input, std::string(what) + " of " + std::to_string(bytes.size()) + " bytes cannot be decoded",
                {}, "are both sides of one build?");
  }
  return x;
}

}  // namespace hydrogen
