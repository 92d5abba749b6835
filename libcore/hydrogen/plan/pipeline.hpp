#pragma once
// `dataset<T>` and the pipelines that dataset calls return. A pipeline is a chain that is still open: each call adds a
// step to its *type*, so that the whole chain compiles to one operator. Storing it in a `dataset<T>` closes the chain;
// steps after that begin a new operator, so loops and function boundaries work.
//
// Calls build a plan and run nothing; actions (collect, count, reduce, first, take, sum, mean) run a job and return its
// result, or throw `failure`. Driver thread. Copies are cheap: they share the plan.

#include <hydrogen/data/file_part.hpp>
#include <hydrogen/exec/fused.hpp>
#include <hydrogen/plan/node.hpp>
#include <hydrogen/plan/parameters.hpp>
#include <hydrogen/plan/result.hpp>

#include <array>
#include <source_location>

namespace hydrogen::plan {

template <class Head, class... Steps>
class pipeline;
template <class T>
class dataset;
template <class T>
class barrier_pipeline;

/// The number of target partitions of a shuffle: `.reduce_by_key(hydrogen::partitions{16}, add)`. Without it: as many
/// as the input has.
struct partitions {
  std::uint32_t count;
};

/// Where an action or a barrier was called, for labels.
using call_site = std::source_location;
std::string label_at(const char* action, const call_site& at);

template <class Head, class... Steps>
class pipeline {
 public:
  using row_type = typename exec::row_after<Head, Steps...>::type;

  pipeline(origin_ptr from, std::string label, plan_detail::parameter_list parameters)
      : from_(std::move(from)), label_(std::move(label)), parameters_(std::move(parameters)) {}

  /// Tasks of the stage that makes these rows.
  std::uint32_t partition_count() const { return from_->partitions; }

  // ---- transformations ---------------------------------------------------------------------------------------------

  /// f(row, args...) for each row; what it returns is the new row.
  template <class F, class... A>
  auto map(F, const A&... args) const {
    plan_detail::require_travelling<F, A...>();
    constexpr bool callable = exec::callable_with_row<F, row_type, const exec::stored<A>&...>;
    static_assert(callable,
                  "hydrogen: the function of map() cannot be called with (row, arguments...): its first parameter "
                  "takes the row, the "
                  "others the arguments that follow it, as values or const references");
    if constexpr (callable) {
      using step = exec::map_step<row_type, F, exec::stored<A>...>;
      static_assert(!std::is_void_v<typename step::row>,
                    "hydrogen: the function of map() returns nothing; return the new row, or use filter or flat_map");
      data::require_row<typename step::row>();
      return with<step>("map", exec::stored<A>(args)...);
    }
  }

  /// Keeps the rows for which f(row, args...) is true.
  template <class F, class... A>
  auto filter(F, const A&... args) const {
    plan_detail::require_travelling<F, A...>();
    constexpr bool callable = exec::callable_with_row<F, row_type, const exec::stored<A>&...>;
    static_assert(callable,
                  "hydrogen: the function of filter() cannot be called with (row, arguments...): its first parameter "
                  "takes the row, the "
                  "others the arguments that follow it, as values or const references");
    if constexpr (callable) {
      static_assert(std::is_constructible_v<bool, exec::row_result<F, row_type, const exec::stored<A>&...>>,
                    "hydrogen: the function of filter() must return bool");
      return with<exec::filter_step<row_type, F, exec::stored<A>...>>("filter", exec::stored<A>(args)...);
    }
  }

  /// Any number of rows for each row: f(row, emitter<U>& out, args...), or f(row, args...) that returns a range.
  template <class Named = void, class F, class... A>
  auto flat_map(F, const A&... args) const {
    plan_detail::require_travelling<F, A...>();
    using U = typename decltype(plan_detail::flat_map_row<Named, F, row_type, exec::stored<A>...>())::type;
    data::require_row<U>();
    static_assert(exec::callable_with_row<F, row_type, exec::emitter<U>&, const exec::stored<A>&...> ||
                      exec::callable_with_row<F, row_type, const exec::stored<A>&...>,
                  "hydrogen: the function of flat_map() cannot be called with (row, emitter<U>& out, arguments...)");
    return with<exec::flat_map_step<row_type, U, F, exec::stored<A>...>>("flat_map", exec::stored<A>(args)...);
  }

  /// f(rows<T>, args...) for each partition; what it returns is one row. Or f(rows<T>, emitter<U>& out, args...).
  template <class Named = void, class F, class... A>
  auto map_partitions(F, const A&... args) const {
    plan_detail::require_travelling<F, A...>();
    constexpr auto U = partition_row<Named, F, data::rows<row_type>, exec::stored<A>...>();
    using row = typename decltype(U)::type;
    data::require_row<row>();
    return with<exec::partition_step<false, row_type, row, F, exec::stored<A>...>>("map_partitions",
                                                                                   exec::stored<A>(args)...);
  }

  /// What each task that makes these rows needs beside its slot: devices, memory, labels of its node. It holds for the
  /// calls before and after, up to where the chain is closed, and for what joins them in one stage.
  pipeline needs(const demand& what) const {
    check_needs(what);
    auto from = std::make_shared<origin>(*from_);
    from->needs = both(std::move(from->needs), what);
    return {std::move(from), label_, parameters_};
  }

  /// Cuts the rows into parts by weight, at random by `seed`. The same seed gives the same parts, however it runs.
  template <std::size_t N>
  auto split(const double (&weights)[N], std::uint64_t seed) const {
    return split_parts(weights, seed, std::make_index_sequence<N>{});
  }

  /// For rows that are pairs (key, value): one row per key, its values combined by f(a, b, args...), which must be
  /// associative. For each key the values are combined in the order of the rows. Keys are equal when their bytes are.
  template <class F, class... A>
  auto reduce_by_key(F f, const A&... args) const {
    return reduce_by_key(partitions{from_->partitions}, f, args...);
  }
  template <class F, class... A>
  auto reduce_by_key(partitions target, F, const A&... args) const {
    plan_detail::require_travelling<F, A...>();
    return shuffle_by_key<F, exec::stored<A>...>(static_cast<row_type*>(nullptr), target, exec::stored<A>(args)...);
  }

  /// The next map_partitions runs as a gang: `options.ranks` tasks that start together and see each other; fewer, where
  /// `options.least_ranks` allows it.
  barrier_pipeline<row_type> barrier(barrier_options options, call_site at = call_site::current()) const;

  /// Closes the chain; the engine keeps its rows after the first job that makes them, as long as a handle lives.
  dataset<row_type> cache() const;

  // ---- actions -----------------------------------------------------------------------------------------------------

  /// All rows, in order. Above the session's limit (`--max-result`): a failure with both sizes.
  std::vector<row_type> collect(call_site at = call_site::current()) const {
    return run_rows<row_type, exec::block_sink<row_type>>(label_at("collect", at), ~std::uint64_t{0});
  }
  std::uint64_t count(call_site at = call_site::current()) const {
    std::uint64_t total = 0;
    for (const auto n : run_rows<std::uint64_t, exec::count_sink<row_type>>(label_at("count", at), ~std::uint64_t{0}))
      total += n;
    return total;
  }
  /// The first rows, `most` of them or all; later partitions are not waited for.
  std::vector<row_type> take(std::uint64_t most, call_site at = call_site::current()) const {
    if (most == 0) return {};
    return run_rows<row_type, exec::take_sink<row_type>>(label_at("take", at), most, most);
  }
  /// Fails when there is no row.
  row_type first(call_site at = call_site::current()) const {
    auto rows = run_rows<row_type, exec::take_sink<row_type>>(label_at("first", at), 1, std::uint64_t{1});
    require_rows(rows.empty(), "first", at);
    return std::move(rows.front());
  }
  /// All rows combined by f(a, b), which must be associative; fails when there is no row.
  template <class F>
  row_type reduce(F, call_site at = call_site::current()) const {
    return reduce_rows<F>(at);
  }
  template <class F, class A0, class... A>
  requires(!std::is_same_v<std::decay_t<A0>, call_site>) row_type reduce(F, const A0& arg, const A&... args)
  const { return reduce_rows<F>(call_site{}, exec::stored<A0>(arg), exec::stored<A>(args)...); }
  /// The sum of numbers: std::int64_t (std::uint64_t if unsigned) for integers, else double. 0 when there is no row.
  auto sum(call_site at = call_site::current()) const {
    static_assert(std::is_arithmetic_v<row_type>,
                  "hydrogen: sum() is for rows that are numbers; map to a number first");
    using Sum = std::conditional_t<std::is_floating_point_v<row_type>, double,
                                   std::conditional_t<std::is_signed_v<row_type>, std::int64_t, std::uint64_t>>;
    return sum_rows<Sum>(label_at("sum", at)).first;
  }
  /// The mean of numbers or truth values; fails when there is no row.
  double mean(call_site at = call_site::current()) const {
    static_assert(std::is_arithmetic_v<row_type>,
                  "hydrogen: mean() is for rows that are numbers; map to a number first");
    const auto [sum, count] = sum_rows<double>(label_at("mean", at));
    require_rows(count == 0, "mean", at);
    return sum / static_cast<double>(count);
  }

 protected:
  template <class T>
  friend class dataset;
  template <class T>
  friend class barrier_pipeline;
  template <class H, class... S>
  friend class pipeline;

  template <class Step, class... P>
  pipeline<Head, Steps..., Step> with(const char* name, const P&... args) const {
    auto parameters = parameters_;
    parameters.push_back(plan_detail::encode_parameters(args...));
    return {from_, label_.empty() ? name : label_ + " > " + name, std::move(parameters)};
  }

  template <class Named, class F, class Rows, class... Args>
  static constexpr auto partition_row() {
    if constexpr (!std::is_void_v<Named>)
      return std::type_identity<Named>{};
    else if constexpr (!std::is_void_v<exec::emitted_by<F>>)
      return std::type_identity<exec::emitted_by<F>>{};
    else {
      constexpr bool callable = std::is_invocable_v<F, Rows, const Args&...>;
      static_assert(callable,
                    "hydrogen: the function of map_partitions() cannot be called with (rows<T>, arguments...)");
      if constexpr (callable) {
        using R = std::decay_t<std::invoke_result_t<F, Rows, const Args&...>>;
        static_assert(!std::is_void_v<R>,
                      "hydrogen: the function of map_partitions() returns nothing; return one row, or write rows to an "
                      "emitter<U>&");
        return std::type_identity<R>{};
      } else {
        return std::type_identity<row_type>{};
      }
    }
  }

  template <std::size_t N, std::size_t... I>
  auto split_parts(const double (&weights)[N], std::uint64_t seed, std::index_sequence<I...>) const {
    std::array<double, N + 1> bounds = split_bounds(weights, N).template as<N + 1>();
    using part = pipeline<Head, Steps..., exec::split_step<row_type>>;
    return std::array<part, N>{with<exec::split_step<row_type>>("split", bounds[I], bounds[I + 1], seed)...};
  }

  template <class F, class... Args, class K, class V>
  auto shuffle_by_key(std::pair<K, V>*, partitions target, const Args&... args) const {
    static_assert(std::is_invocable_r_v<V, F, V, V, const Args&...>,
                  "hydrogen: the function of reduce_by_key() must combine two values: V f(V, V, arguments...)");
    auto shuffled = close<exec::shuffle_sink<K, V, F, Args...>>(check_partitions(target.count),
                                                                plan_detail::encode_parameters(args...));
    auto from = std::make_shared<const origin>(origin{
        from_->engine_of, {}, feed::shuffle, std::move(shuffled), target.count, {}, stage_kind::parallel, {}, {}});
    return pipeline<exec::merged<K, V, F, Args...>>(std::move(from), "reduce_by_key",
                                                    {plan_detail::encode_parameters(args...)});
  }
  template <class F, class... Args>
  auto shuffle_by_key(void*, partitions, const Args&...) const {
    static_assert(codec_detail::is_tuple<row_type> && !sizeof(F),
                  "hydrogen: reduce_by_key() needs rows that are std::pair<key, value>; map to a pair first");
    return *this;
  }

  /// The chain up to here with a sink, as a node of the plan.
  template <class Sink>
  node_ptr close(std::uint32_t buckets, std::shared_ptr<const byte_buffer> sink_parameters,
                 std::shared_ptr<kept_outputs> kept = nullptr) const {
    data::require_row<row_type>();
    auto parameters = parameters_;
    parameters.push_back(std::move(sink_parameters));
    const auto* descriptor = exec::registered<exec::fused<Head, Sink, Steps...>>::descriptor();
    return make_node(from_, label_, descriptor, parameters, buckets, std::move(kept));
  }

  /// The dataset's node, closing what is open.
  node_ptr closed(std::shared_ptr<kept_outputs> kept = nullptr) const {
    if constexpr (sizeof...(Steps) == 0 && std::is_same_v<Head, exec::blocks_of<row_type>>) {
      if (kept == nullptr) return from_->input;
    }
    return close<exec::block_sink<row_type>>(1, plan_detail::encode_parameters(), std::move(kept));
  }

  /// The chain with the sink of an action. Rows that are there as they are, or will be kept, need no further operator.
  template <class Sink, class... P>
  node_ptr closed_by(const P&... sink_parameters) const {
    if constexpr (sizeof...(Steps) == 0 && std::is_same_v<Head, exec::blocks_of<row_type>>) {
      if constexpr (std::is_same_v<Sink, exec::block_sink<row_type>>)
        return from_->input;
      else if constexpr (std::is_same_v<Sink, exec::take_sink<row_type>>) {
        if (from_->input->kept != nullptr) return from_->input;
      }
    }
    return close<Sink>(1, plan_detail::encode_parameters(sink_parameters...));
  }

  template <class R, class Sink, class... P>
  std::vector<R> run_rows(std::string label, std::uint64_t most, const P&... sink_parameters) const {
    const auto last = closed_by<Sink>(sink_parameters...);
    result_reader reader(from_->engine_of->get().max_result(), label);
    std::vector<R> rows;
    run_job(*last, std::move(label), [&](std::uint32_t, const std::vector<data::block_ptr>& blocks) {
      for (const auto& b : blocks) {
        if (rows.size() >= most) break;
        reader.add(*b);
        data::for_each_row<R>(*b, [&](auto&& r) {
          if (rows.size() < most) rows.push_back(data::own<R>(std::forward<decltype(r)>(r)));
        });
      }
      return rows.size() < most;
    });
    return rows;
  }

  template <class F, class... Args>
  row_type reduce_rows(call_site at, const Args&... args) const {
    plan_detail::require_travelling<F, Args...>();
    constexpr bool callable = std::is_invocable_r_v<row_type, F, row_type, row_type, const Args&...>;
    static_assert(callable, "hydrogen: the function of reduce() must combine two rows: T f(T, T, arguments...)");
    if constexpr (callable) {
      auto parts = run_rows<row_type, exec::reduce_sink<row_type, F, Args...>>(label_at("reduce", at),
                                                                               ~std::uint64_t{0}, args...);
      require_rows(parts.empty(), "reduce", at);
      row_type value = std::move(parts.front());
      for (std::size_t i = 1; i < parts.size(); ++i)
        value = static_cast<row_type>(F{}(std::move(value), row_type(std::move(parts[i])), args...));
      return value;
    } else {
      std::terminate();
    }
  }

  template <class Sum>
  std::pair<Sum, std::uint64_t> sum_rows(std::string label) const {
    std::pair<Sum, std::uint64_t> total{};
    for (const auto& [sum, count] :
         run_rows<std::pair<Sum, std::uint64_t>, exec::sum_sink<row_type, Sum>>(std::move(label), ~std::uint64_t{0})) {
      total.first += sum;
      total.second += count;
    }
    return total;
  }

  origin_ptr from_;
  std::string label_;
  plan_detail::parameter_list parameters_;
};

}  // namespace hydrogen::plan
