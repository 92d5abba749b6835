#pragma once
// User functions. A function given to a dataset captures nothing; what it needs is passed after it and reaches it as
// `const T&` after its own parameters. So a task is plain data. Each misuse has its own message.

#include <hydrogen/data/rows.hpp>
#include <hydrogen/exec/emitter.hpp>

#include <tuple>
#include <type_traits>

namespace hydrogen {

/// A named function as a type: `.map(hydrogen::fn<scale>)`.
template <auto F>
struct fn_type {
  template <class... A>
  constexpr auto operator()(A&&... a) const -> decltype(F(std::forward<A>(a)...)) {
    return F(std::forward<A>(a)...);
  }
};
template <auto F>
inline constexpr fn_type<F> fn{};

}  // namespace hydrogen

namespace hydrogen::exec {

/// The parameter types of a function object with one plain operator().
template <class... A>
struct known_signature {
  static constexpr bool known = true;
  using arguments = std::tuple<A...>;
};
template <class M>
struct signature_of {
  static constexpr bool known = false;
};
template <class R, class C, class... A>
struct signature_of<R (C::*)(A...)> : known_signature<A...> {};
template <class R, class C, class... A>
struct signature_of<R (C::*)(A...) const> : known_signature<A...> {};
template <class R, class C, class... A>
struct signature_of<R (C::*)(A...) noexcept> : known_signature<A...> {};
template <class R, class C, class... A>
struct signature_of<R (C::*)(A...) const noexcept> : known_signature<A...> {};
template <class R, class... A>
struct signature_of<R (*)(A...)> : known_signature<A...> {};
template <class R, class... A>
struct signature_of<R (*)(A...) noexcept> : known_signature<A...> {};

template <class F>
struct signature {
  static constexpr bool known = false;
};
template <class F>
requires requires {
  &F::operator();
}
struct signature<F> : signature_of<decltype(&F::operator())> {};
template <auto P>
struct signature<fn_type<P>> : signature_of<std::decay_t<decltype(P)>> {};

namespace function_detail {
template <class... A>
struct emitted {
  using type = void;
};
template <class U, class... A>
struct emitted<emitter<U>&, A...> {
  using type = U;
};
template <class A0, class... A>
struct emitted<A0, A...> : emitted<A...> {};
template <class Tuple>
struct emitted_of_tuple;
template <class... A>
struct emitted_of_tuple<std::tuple<A...>> : emitted<A...> {};
template <class F>
struct emitted_by {
  using type = void;
};
template <class F>
requires(signature<F>::known) struct emitted_by<F> : emitted_of_tuple<typename signature<F>::arguments> {
};
}  // namespace function_detail

/// U if F has a parameter `emitter<U>&`, else void.
template <class F>
using emitted_by = typename function_detail::emitted_by<F>::type;

/// Fails to compile, with what to write instead, when F cannot travel.
template <class F>
constexpr void require_function() {
  static_assert(
      !std::is_pointer_v<F> && !std::is_function_v<F>,
      "hydrogen: a plain function cannot travel to another process: write hydrogen::fn<scale> instead of scale");
  if constexpr (!std::is_pointer_v<F> && !std::is_function_v<F>) {
    static_assert(std::is_empty_v<F> && std::is_default_constructible_v<F>,
                  "hydrogen: a function given to a dataset must not capture ([&] or [=]): write [] and pass what it "
                  "needs after the "
                  "function, as with std::thread");
  }
}

/// How an argument given after a function is stored: text literals and views become std::string.
namespace function_detail {
template <class A>
struct stored {
  using type = A;
};
template <>
struct stored<const char*> {
  using type = std::string;
};
template <>
struct stored<char*> {
  using type = std::string;
};
template <>
struct stored<std::string_view> {
  using type = std::string;
};
}  // namespace function_detail
template <class A>
using stored = typename function_detail::stored<std::decay_t<A>>::type;

template <class A>
constexpr void require_argument() {
  static_assert(data::row_problem_of<A> != data::row_problem::view,
                "hydrogen: an argument given after the function must not be or hold a pointer, a reference or a view: "
                "it means nothing in "
                "another process");
  static_assert(data::row_problem_of<A> != data::row_problem::unknown,
                "hydrogen: an argument given after the function cannot be sent: make it a plain aggregate, or give it "
                "inspect(f, x)");
}

/// True when F can be called with a row of type In, by value, by const reference or by its view.
template <class F, class In, class... A>
inline constexpr bool callable_with_row = std::is_invocable_v<F, In, A...> || std::is_invocable_v<F, const In&, A...> ||
                                          std::is_invocable_v<F, data::view_of<In>, A...>;

/// Calls F with a row that comes as In or as its view. A function with a plain signature gets the view if it takes it;
/// a generic one always gets an In.
template <class F, class In, class R, class... A>
[[gnu::always_inline]] inline auto call_with_row(R&& row, A&&... a) {
  if constexpr (std::is_same_v<std::remove_cvref_t<R>, In>) {
    if constexpr (std::is_invocable_v<F, R, A...>)
      return F{}(std::forward<R>(row), a...);
    else if constexpr (std::is_invocable_v<F, In, A...>)
      return F{}(In(std::forward<R>(row)), a...);
    else
      return F{}(std::as_const(row), a...);
  } else if constexpr (signature<F>::known && std::is_invocable_v<F, R, A...>) {
    return F{}(std::forward<R>(row), a...);
  } else {
    return F{}(data::own<In>(std::forward<R>(row)), a...);
  }
}

template <class F, class In, class... A>
using row_result = decltype(call_with_row<F, In>(std::declval<In>(), std::declval<A>()...));

}  // namespace hydrogen::exec
