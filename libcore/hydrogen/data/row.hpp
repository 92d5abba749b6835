#pragma once
// What a row is. A row is a movable value that can be written as bytes: numbers, enums, std::string, pairs, tuples,
// arrays, vectors, optionals, variants, maps, durations, plain aggregates (field by field) and every type with
// `inspect(f, x)` that returns f(x.a, x.b, ...). Pointers, references and views are no rows: they mean nothing in
// another process.
//
// A row is *flat* when it is a number or an enum, or an array, pair, tuple or plain aggregate of flat fields: a block
// of such rows is an array of them. `std::is_trivially_copyable` is the wrong test: pairs fail it, pointers pass it.
// Padding is written as zeros: old memory must not leave the process, and equal rows must be equal bytes.
//
// Everything here is decided at compile time.

#include <hydrogen/base/bytes.hpp>
#include <hydrogen/data/fields.hpp>

#include <memory>
#include <string_view>
#include <unordered_map>

namespace hydrogen::data {

namespace row_detail {

struct probe {
  using result_type = bool;
  template <class... Ts>
  bool operator()(Ts&...) {
    return true;
  }
};

template <class T>
inline constexpr bool is_map = codec_detail::is_map<T>;
template <class K, class V, class H, class E, class A>
inline constexpr bool is_map<std::unordered_map<K, V, H, E, A>> = true;

template <class T>
inline constexpr bool is_view =
    std::is_pointer_v<T> || std::is_reference_v<T> || std::is_member_pointer_v<T> || std::is_null_pointer_v<T>;
template <class C, class Tr>
inline constexpr bool is_view<std::basic_string_view<C, Tr>> = true;
template <class T, std::size_t N>
inline constexpr bool is_view<std::span<T, N>> = true;
template <class T>
inline constexpr bool is_view<std::reference_wrapper<T>> = true;
template <class T, class D>
inline constexpr bool is_view<std::unique_ptr<T, D>> = true;
template <class T>
inline constexpr bool is_view<std::shared_ptr<T>> = true;
template <class T>
inline constexpr bool is_view<std::weak_ptr<T>> = true;

template <class T>
struct alternatives_of;
template <class... Ts>
struct alternatives_of<std::variant<Ts...>> {
  using type = std::tuple<Ts...>;
};

}  // namespace row_detail

template <class T>
concept has_inspect = requires(row_detail::probe& f, T& x) {
  inspect(f, x);
};

/// A struct whose fields can be listed without help.
template <class T>
concept plain_aggregate = std::is_class_v<T> && std::is_aggregate_v<T> && !has_inspect<T> &&
                          !codec_detail::is_array<T> && !row_detail::is_view<T>;

/// Calls f(field, field, ...) with references to the fields of a plain aggregate.
template <class F, class T>
decltype(auto) with_fields(F&& f, T& x) {
  return std::apply(std::forward<F>(f), tie_fields(x));
}

enum class row_problem { none, view, unknown };

namespace row_detail {

template <class T>
consteval row_problem problem_of();

template <class Tuple, std::size_t... I>
consteval row_problem problem_of_elements(std::index_sequence<I...>) {
  auto worst = row_problem::none;
  ((worst = worst == row_problem::none ? problem_of<std::tuple_element_t<I, Tuple>>() : worst), ...);
  return worst;
}

template <class T, std::size_t... I>
consteval row_problem problem_of_fields(std::index_sequence<I...>) {
  auto worst = row_problem::none;
  ((worst = worst == row_problem::none ? problem_of<field_type<I, T>>() : worst), ...);
  return worst;
}

template <class T>
consteval row_problem problem_of() {
  using namespace codec_detail;
  if constexpr (is_view<T>)
    return row_problem::view;
  else if constexpr (std::is_same_v<T, long double>)
    return row_problem::unknown;
  else if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T> || std::is_same_v<T, std::string> || is_duration<T>)
    return row_problem::none;
  else if constexpr (is_vector<T> || is_array<T> || is_optional<T>)
    return problem_of<typename T::value_type>();
  else if constexpr (row_detail::is_map<T>) {
    return problem_of_elements<std::pair<typename T::key_type, typename T::mapped_type>>(std::make_index_sequence<2>{});
  } else if constexpr (is_tuple<T>)
    return problem_of_elements<T>(std::make_index_sequence<std::tuple_size_v<T>>{});
  else if constexpr (is_variant<T>) {
    return problem_of_elements<typename alternatives_of<T>::type>(std::make_index_sequence<std::variant_size_v<T>>{});
  } else if constexpr (has_inspect<T>)
    return row_problem::none;
  else if constexpr (plain_aggregate<T>)
    return problem_of_fields<T>(std::make_index_sequence<field_count<T>>{});
  else
    return row_problem::unknown;
}

template <class T>
consteval bool flat();

template <class T, std::size_t... I>
consteval bool flat_elements(std::index_sequence<I...>) {
  return (flat<std::tuple_element_t<I, T>>() && ...);
}
template <class T, std::size_t... I>
consteval bool flat_fields(std::index_sequence<I...>) {
  return (flat<field_type<I, T>>() && ...);
}

template <class T>
consteval bool flat() {
  using namespace codec_detail;
  if constexpr (is_view<T> || std::is_same_v<T, long double>)
    return false;
  else if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T> || is_duration<T>)
    return true;
  else if constexpr (is_array<T>)
    return flat<typename T::value_type>();
  else if constexpr (is_tuple<T>)
    return flat_elements<T>(std::make_index_sequence<std::tuple_size_v<T>>{});
  else if constexpr (plain_aggregate<T>)
    return flat_fields<T>(std::make_index_sequence<field_count<T>>{});
  else
    return false;
}

/// Bytes of the leaves of a flat type, without padding.
template <class T>
consteval std::size_t packed_size();

template <class T, std::size_t... I>
consteval std::size_t packed_elements(std::index_sequence<I...>) {
  return (std::size_t{0} + ... + packed_size<std::tuple_element_t<I, T>>());
}
template <class T, std::size_t... I>
consteval std::size_t packed_fields(std::index_sequence<I...>) {
  return (std::size_t{0} + ... + packed_size<field_type<I, T>>());
}
template <class T>
consteval std::size_t packed_size() {
  using namespace codec_detail;
  if constexpr (is_array<T>)
    return std::tuple_size_v<T> == 0 ? 0 : std::tuple_size_v<T> * packed_size<typename T::value_type>();
  else if constexpr (is_tuple<T>)
    return packed_elements<T>(std::make_index_sequence<std::tuple_size_v<T>>{});
  else if constexpr (plain_aggregate<T>)
    return packed_fields<T>(std::make_index_sequence<field_count<T>>{});
  else
    return sizeof(T);
}

/// FNV-1a of the name of the type, as the compiler writes it: the same in every process with the same build.
template <class T>
consteval std::uint64_t code_of_type() {
  std::uint64_t h = 0xcbf29ce484222325ULL;
  for (const char* p = __PRETTY_FUNCTION__; *p != 0; ++p) h = (h ^ static_cast<unsigned char>(*p)) * 0x100000001b3ULL;
  return (h ^ sizeof(T)) * 0x100000001b3ULL;
}

template <class T>
struct view_of {
  using type = T;
  static constexpr bool differs = false;
};
template <>
struct view_of<std::string> {
  using type = std::string_view;
  static constexpr bool differs = true;
};

}  // namespace row_detail

template <class T>
inline constexpr row_problem row_problem_of = row_detail::problem_of<T>();
template <class T>
inline constexpr bool is_row = row_problem_of<T> == row_problem::none;
template <class T>
inline constexpr bool is_flat = row_detail::flat<T>();
template <class T>
inline constexpr bool has_padding = row_detail::packed_size<T>() != sizeof(T);
template <class T>
inline constexpr std::uint64_t type_code = row_detail::code_of_type<T>();

namespace row_detail {
template <class V>
requires(data::is_flat<V>) struct view_of<std::pair<std::string, V>> {
  using type = std::pair<std::string_view, V>;
  static constexpr bool differs = true;
};
}  // namespace row_detail

/// How a row of type T is handed from step to step without owning its text: std::string as std::string_view, a pair of
/// text and a flat value likewise, everything else as itself.
template <class T>
using view_of = typename row_detail::view_of<T>::type;
template <class T>
inline constexpr bool has_view = row_detail::view_of<T>::differs;

/// The row itself, from itself or its view.
template <class T, class R>
T own(R&& r) {
  if constexpr (std::is_same_v<std::remove_cvref_t<R>, T>)
    return std::forward<R>(r);
  else if constexpr (codec_detail::is_tuple<T>)
    return T(typename T::first_type(r.first), r.second);
  else
    return T(std::forward<R>(r));
}

/// Fails to compile, with the reason, when T is no row.
template <class T>
constexpr void require_row() {
  static_assert(
      row_problem_of<T> != row_problem::view,
      "hydrogen: a row must not be or hold a pointer, a reference or a view (std::string_view, std::span): it means "
      "nothing in another process. Return a std::string or std::vector instead");
  static_assert(row_problem_of<T> != row_problem::unknown,
                "hydrogen: this type cannot be a row: make it a plain aggregate, or give it a function "
                "template <class I> friend auto inspect(I& f, T& x) { return f(x.a, x.b); }");
}

/// Writes the sizeof(T) bytes of a flat row, padding as zeros.
template <class T>
void copy_flat(std::byte* to, const T& x) {
  static_assert(is_flat<T>);
  if constexpr (!has_padding<T>) {
    std::memcpy(to, static_cast<const void*>(&x), sizeof(T));
  } else if constexpr (codec_detail::is_array<T>) {
    for (const auto& v : x) copy_flat(to, v), to += sizeof v;
  } else {
    std::memset(to, 0, sizeof(T));
    const auto field = [&](const auto& v) {
      copy_flat(to + (reinterpret_cast<const std::byte*>(std::addressof(v)) - reinterpret_cast<const std::byte*>(&x)),
                v);
    };
    if constexpr (codec_detail::is_tuple<T>)
      std::apply([&](const auto&... v) { (field(v), ...); }, x);
    else
      with_fields([&](const auto&... v) { (field(v), ...); }, x);
  }
}

}  // namespace hydrogen::data
