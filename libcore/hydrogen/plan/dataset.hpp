#pragma once
// `dataset<T>`: rows of T behind a closed chain, the type of variables and parameters; and what follows
// `.barrier(...)`. Driver thread. Copies are cheap; the plan, and what the engine keeps for it, lives as long as any
// handle.

#include <hydrogen/plan/pipeline.hpp>

namespace hydrogen::plan {

/// Rows of T whose chain is closed: a variable's type, a parameter's type.
template <class T>
class dataset : public pipeline<exec::blocks_of<T>> {
  using base = pipeline<exec::blocks_of<T>>;

 public:
  template <class Head, class... Steps>
  requires(std::is_same_v<typename pipeline<Head, Steps...>::row_type, T>) dataset(const pipeline<Head, Steps...>& open)
      : dataset(open.closed()) {}

  explicit dataset(node_ptr input)
      : base(std::make_shared<const origin>(origin{input->from->engine_of,
                                                   {},
                                                   feed::narrow,
                                                   input,
                                                   input->from->partitions,
                                                   {},
                                                   stage_kind::parallel,
                                                   {},
                                                   {}}),
             {}, {}) {}
};

/// What `.barrier(...)` returns: only map_partitions follows.
template <class T>
class barrier_pipeline {
 public:
  barrier_pipeline(node_ptr input, barrier_options options, call_site at)
      : input_(std::move(input)), options_(options), at_(at) {}

  /// f(barrier_context&, rows<T>, args...) on each rank; what it returns is one row, by rank. Or it writes rows:
  /// f(barrier_context&, rows<T>, emitter<U>& out, args...). The engine keeps the rows while a handle to them lives, so
  /// a second job does not train again.
  template <class Named = void, class F, class... A>
  auto map_partitions(F, const A&... args) const {
    plan_detail::require_travelling<F, A...>();
    using U = typename decltype(row_of<Named, F, exec::stored<A>...>())::type;
    data::require_row<U>();
    const auto& engine_of = input_->from->engine_of;
    auto from = std::make_shared<const origin>(
        origin{engine_of, {}, feed::regroup, input_, options_.ranks, {}, stage_kind::barrier, options_, {}});
    pipeline<exec::blocks_of<T>, exec::partition_step<true, T, U, F, exec::stored<A>...>> chain(
        std::move(from), label_at("barrier", at_), {plan_detail::encode_parameters(exec::stored<A>(args)...)});
    return dataset<U>(chain.closed(std::make_shared<kept_outputs>(engine_of)));
  }

 private:
  template <class Named, class F, class... Args>
  static constexpr auto row_of() {
    if constexpr (!std::is_void_v<Named>)
      return std::type_identity<Named>{};
    else if constexpr (!std::is_void_v<exec::emitted_by<F>>)
      return std::type_identity<exec::emitted_by<F>>{};
    else {
      constexpr bool callable = std::is_invocable_v<F, exec::barrier_context&, data::rows<T>, const Args&...>;
      static_assert(
          callable,
          "hydrogen: the function after barrier() cannot be called with (barrier_context&, rows<T>, arguments...)");
      if constexpr (callable) {
        using R = std::decay_t<std::invoke_result_t<F, exec::barrier_context&, data::rows<T>, const Args&...>>;
        static_assert(
            !std::is_void_v<R>,
            "hydrogen: the function after barrier() returns nothing; return one row, or write rows to an emitter<U>&");
        return std::type_identity<R>{};
      } else {
        return std::type_identity<T>{};
      }
    }
  }

  node_ptr input_;
  barrier_options options_;
  call_site at_;
};

template <class Head, class... Steps>
auto pipeline<Head, Steps...>::barrier(barrier_options options, call_site at) const -> barrier_pipeline<row_type> {
  check_ranks(options);
  return {closed(), options, at};
}

template <class Head, class... Steps>
auto pipeline<Head, Steps...>::cache() const -> dataset<row_type> {
  return dataset<row_type>(closed(std::make_shared<kept_outputs>(from_->engine_of)));
}

}  // namespace hydrogen::plan
