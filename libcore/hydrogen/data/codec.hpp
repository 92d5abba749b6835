#pragma once
// Rows and arguments as bytes. The convention is that of the control messages (<hydrogen/base/bytes.hpp>: `inspect`,
// lengths as 32 bits), widened to what user types need: plain aggregates field by field, flat values as one copy, views
// of text. Reading checks every length against what is left. Any thread.

#include <hydrogen/data/buffer.hpp>
#include <hydrogen/data/row.hpp>

namespace hydrogen::data {

/// Appends rows to a buffer (data::buffer or byte_buffer: anything with `std::byte* grow(n)` by `grow_by`).
inline std::byte* grow_by(buffer& out, std::size_t n) {
  return out.grow(n);
}
inline std::byte* grow_by(byte_buffer& out, std::size_t n) {
  out.resize(out.size() + n);
  return out.data() + out.size() - n;
}

template <class Out>
class row_writer {
 public:
  using result_type = bool;
  explicit row_writer(Out& out) : out_(out) {}

  template <class... Ts>
  bool operator()(Ts&... xs) {
    (put(xs), ...);
    return true;
  }

  template <class T>
  void put(const T& x) {
    using namespace codec_detail;
    if constexpr (is_flat<T>) {
      copy_flat(grow_by(out_, sizeof(T)), x);
    } else if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, std::string_view>) {
      text(x);
    } else if constexpr (is_vector<T>) {
      using V = typename T::value_type;
      length(x.size());
      if constexpr (std::is_same_v<V, bool>) {
        for (const bool v : x) put(v);
      } else if constexpr (is_flat<V>) {
        auto* to = grow_by(out_, x.size() * sizeof(V));
        if constexpr (!has_padding<V>) {
          if (!x.empty()) std::memcpy(to, static_cast<const void*>(x.data()), x.size() * sizeof(V));
        } else {
          for (const auto& v : x) copy_flat(to, v), to += sizeof(V);
        }
      } else {
        for (const auto& v : x) put(v);
      }
    } else if constexpr (row_detail::is_map<T>) {
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
    } else if constexpr (has_inspect<T>) {
      inspect(*this, const_cast<T&>(x));
    } else {
      require_row<T>();
      with_fields([this](const auto&... v) { (put(v), ...); }, x);
    }
  }

 private:
  void text(std::string_view x) {
    check(x.size());
    auto* to = grow_by(out_, 4 + x.size());
    const auto n = static_cast<std::uint32_t>(x.size());
    std::memcpy(to, &n, 4);
    if (n != 0) std::memcpy(to + 4, x.data(), n);
  }
  void length(std::size_t n) {
    check(n);
    put(static_cast<std::uint32_t>(n));
  }
  static void check(std::size_t n) {
    if (n > UINT32_MAX) {
      throw failure({errc::over_limit,
                     "a row holds a text or vector of " + std::to_string(n) + " elements",
                     {},
                     "4294967295 is the most; split it into several rows"});
    }
  }
  Out& out_;
};

/// Reads rows; after the first failure `ok()` is false and values are unspecified. A std::string_view it yields points
/// into the bytes.
class row_reader {
 public:
  using result_type = bool;
  explicit row_reader(byte_view in) : at_(in.data()), end_(in.data() + in.size()) {}

  bool ok() const { return ok_; }
  std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }

  template <class... Ts>
  bool operator()(Ts&... xs) {
    (get(xs), ...);
    return ok_;
  }

  template <class T>
  void get(T& x) {
    using namespace codec_detail;
    if constexpr (is_flat<T>) {
      if (const auto* from = take(sizeof(T))) std::memcpy(static_cast<void*>(&x), from, sizeof(T));
    } else if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, std::string_view>) {
      const auto n = length(1);
      if (const auto* from = take(n)) x = T(reinterpret_cast<const char*>(from), n);
    } else if constexpr (is_vector<T>) {
      vector(x);
    } else if constexpr (row_detail::is_map<T>) {
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
      std::uint8_t has = 0;
      get(has);
      if (has > 1) ok_ = false;
      if (has == 1)
        get(x.emplace());
      else
        x.reset();
    } else if constexpr (is_variant<T>) {
      std::uint8_t index = 0;
      get(index);
      if (index >= std::variant_size_v<T>) ok_ = false;
      if (ok_) alternative(x, index, std::make_index_sequence<std::variant_size_v<T>>{});
    } else if constexpr (has_inspect<T>) {
      inspect(*this, x);
    } else {
      with_fields([this](auto&... v) { (get(v), ...); }, x);
    }
  }

 private:
  template <class T>
  void vector(T& x) {
    using V = typename T::value_type;
    const auto n = length(is_flat<V> ? sizeof(V) : 1);
    if constexpr (is_flat<V> && !std::is_same_v<V, bool>) {
      const auto* from = take(n * sizeof(V));
      if (from == nullptr) return;
      x.resize(n);
      if (n != 0) std::memcpy(static_cast<void*>(x.data()), from, n * sizeof(V));
    } else {
      x.clear();
      for (std::size_t i = 0; i < n && ok_; ++i) {
        V v{};
        get(v);
        x.push_back(std::move(v));
      }
    }
  }
  const std::byte* take(std::size_t n) {
    if (!ok_ || n > left()) {
      ok_ = false;
      return nullptr;
    }
    const auto* from = at_;
    at_ += n;
    return from;
  }
  std::size_t length(std::size_t element) {
    std::uint32_t n = 0;
    if (const auto* from = take(4)) std::memcpy(&n, from, 4);
    if (std::size_t{n} * element > left()) ok_ = false;
    return ok_ ? n : 0;
  }
  template <class V, std::size_t... I>
  void alternative(V& x, std::size_t index, std::index_sequence<I...>) {
    ((I == index ? get(x.template emplace<I>()) : void()), ...);
  }

  const std::byte* at_;
  const std::byte* end_;
  bool ok_ = true;
};

template <class T>
byte_buffer encode_value(const T& x) {
  byte_buffer out;
  row_writer<byte_buffer>(out).put(x);
  return out;
}

/// The whole of `bytes` as a T; what it is (`what`) is named in the error.
template <class T>
expected<T> decode_value(byte_view bytes, std::string_view what) {
  T x{};
  row_reader in(bytes);
  in.get(x);
  if (!in.ok() || in.left() != 0) {
    return fail(errc::bad_input, std::string(what) + " of " + std::to_string(bytes.size()) + " bytes cannot be decoded",
                {}, "was it written by another build?");
  }
  return x;
}

}  // namespace hydrogen::data
