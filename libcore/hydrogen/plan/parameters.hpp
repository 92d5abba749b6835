#pragma once
// How functions and their arguments given to a dataset become parameters of an operator, and the compile-time messages
// when they cannot. Driver thread.

#include <hydrogen/exec/fused.hpp>

#include <memory>
#include <vector>

namespace hydrogen::plan {

namespace plan_detail {

/// Encoded parameters of head and steps, in pieces: a large argument is shared by the pipelines that grow from it.
using parameter_list = std::vector<std::shared_ptr<const byte_buffer>>;

template <class... Args>
std::shared_ptr<const byte_buffer> encode_parameters(const Args&... args) {
  auto bytes = std::make_shared<byte_buffer>();
  data::row_writer<byte_buffer> out(*bytes);
  (out.put(args), ...);
  return bytes;
}
byte_buffer flatten(const parameter_list& list);

template <class F, class... A>
constexpr void require_travelling() {
  exec::require_function<F>();
  (exec::require_argument<exec::stored<A>>(), ...);
}

template <class Range>
using value_of_range = std::decay_t<decltype(*std::declval<Range&>().begin())>;

/// U of a flat_map: named, or that of the emitter, or that of the returned range.
template <class Named, class F, class In, class... Args>
constexpr auto flat_map_row() {
  if constexpr (!std::is_void_v<Named>)
    return std::type_identity<Named>{};
  else if constexpr (!std::is_void_v<exec::emitted_by<F>>)
    return std::type_identity<exec::emitted_by<F>>{};
  else {
    constexpr bool callable = exec::callable_with_row<F, In, const Args&...>;
    static_assert(callable,
                  "hydrogen: the function of flat_map() takes a row, then `hydrogen::emitter<U>& out`, then the "
                  "arguments that follow it; or it "
                  "returns a range. A generic one names its rows: .flat_map<U>(...)");
    if constexpr (callable)
      return std::type_identity<value_of_range<exec::row_result<F, In, const Args&...>>>{};
    else
      return std::type_identity<In>{};
  }
}

}  // namespace plan_detail

}  // namespace hydrogen::plan
