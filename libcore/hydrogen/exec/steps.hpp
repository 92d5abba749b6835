#pragma once
// The steps of a fused chain. A step takes rows of `In` one at a time (`put`) and hands rows of `row` to the next step,
// all inlined into one loop; what it still holds goes on in `finish`. `start` is called once per task.

#include <hydrogen/base/random.hpp>
#include <hydrogen/data/block_writer.hpp>
#include <hydrogen/exec/barrier_context.hpp>
#include <hydrogen/exec/environment.hpp>
#include <hydrogen/exec/function.hpp>
#include <hydrogen/exec/operator.hpp>

namespace hydrogen::exec {

/// Arguments of a user function, decoded once per task.
template <class... Args>
struct with_arguments {
  std::tuple<Args...> args;
  void start(const operator_site&, data::row_reader& in) {
    std::apply([&](Args&... a) { (in.get(a), ...); }, args);
  }
};

/// True when F writes to an emitter: its signature says so, or it is generic and cannot be called without one.
template <class F, bool CallableWithout>
inline constexpr bool emits = signature<F>::known ? !std::is_void_v<emitted_by<F>> : !CallableWithout;

template <class In, class F, class... Args>
struct map_step : with_arguments<Args...> {
  using row = std::decay_t<row_result<F, In, const Args&...>>;
  template <class R, class Next>
  [[gnu::always_inline]] void put(R&& r, Next& next) {
    std::apply(
        [&](const Args&... a) __attribute__((always_inline)) { next(call_with_row<F, In>(std::forward<R>(r), a...)); },
        this->args);
  }
  template <class Next>
  void finish(Next&) {}
};

template <class In, class F, class... Args>
struct filter_step : with_arguments<Args...> {
  using row = In;
  template <class R, class Next>
  [[gnu::always_inline]] void put(R&& r, Next& next) {
    const bool keep = std::apply(
        [&](const Args&... a)
            __attribute__((always_inline)) { return static_cast<bool>(call_with_row<F, In>(std::as_const(r), a...)); },
        this->args);
    if (keep) next(std::forward<R>(r));
  }
  template <class Next>
  void finish(Next&) {}
};

/// F puts rows of U into an emitter, or returns a range of them.
template <class In, class U, class F, class... Args>
struct flat_map_step : with_arguments<Args...> {
  using row = U;
  template <class R, class Next>
  [[gnu::always_inline]] void put(R&& r, Next& next) {
    std::apply(
        [&](const Args&... a) __attribute__((always_inline)) {
          if constexpr (emits<F, callable_with_row<F, In, const Args&...>>) {
            emitter<U> out(next);
            call_with_row<F, In>(std::forward<R>(r), out, a...);
          } else {
            auto result = call_with_row<F, In>(std::forward<R>(r), a...);
            for (auto&& x : result) next(static_cast<const U&>(x));
          }
        },
        this->args);
  }
  template <class Next>
  void finish(Next&) {}
};

/// Keeps the rows of one part of a weighted random split. Which part a row falls into depends on (seed, partition,
/// number of the row in it) only.
template <class In>
struct split_step {
  using row = In;
  double from = 0;  // of [0, 1)
  double to = 1;
  std::uint64_t seed = 0;
  std::uint64_t number = 0;

  void start(const operator_site& site, data::row_reader& in) {
    in(from, to, seed);
    seed = hash_mix(seed, site.what.id.partition);
  }
  template <class R, class Next>
  [[gnu::always_inline]] void put(R&& r, Next& next) {
    const auto u = static_cast<double>(hash_mix(seed, number++) >> 11) * 0x1.0p-53;
    if (u >= from && u < to) next(std::forward<R>(r));
  }
  template <class Next>
  void finish(Next&) {}
};

/// F sees the whole partition as `rows<In>`; in a gang it also gets the barrier_context. It returns one row (U), or
/// puts rows into an emitter<U>.
template <bool Gang, class In, class U, class F, class... Args>
struct partition_step : with_arguments<Args...> {
  using row = U;
  std::vector<data::block_ptr> blocks;
  data::block_writer<In> writer;
  const operator_site* site = nullptr;

  void start(const operator_site& s, data::row_reader& in) {
    with_arguments<Args...>::start(s, in);
    site = &s;
  }
  /// Blocks that need no copy.
  void take_block(const data::block_ptr& b) { blocks.push_back(b); }
  template <class R, class Next>
  void put(R&& r, Next&) {
    writer.put(r);
    if (writer.full()) blocks.push_back(writer.take());
  }
  template <class Next>
  void finish(Next& next) {
    if (auto last = writer.take()) blocks.push_back(std::move(last));
    data::rows<In> all(std::move(blocks));
    std::apply(
        [&](const Args&... a) {
          if constexpr (Gang) {
            barrier_context gang(site->what, site->environment);
            run(next, a..., gang, std::move(all));
          } else {
            run(next, a..., std::move(all));
          }
        },
        this->args);
  }

 private:
  template <class Next>
  void run(Next& next, const Args&... a, barrier_context& gang, data::rows<In>&& all) {
    if constexpr (emits<F, std::is_invocable_v<F, barrier_context&, data::rows<In>, const Args&...>>) {
      emitter<U> out(next);
      F{}(gang, std::move(all), out, a...);
    } else {
      next(F{}(gang, std::move(all), a...));
    }
  }
  template <class Next>
  void run(Next& next, const Args&... a, data::rows<In>&& all) {
    if constexpr (emits<F, std::is_invocable_v<F, data::rows<In>, const Args&...>>) {
      emitter<U> out(next);
      F{}(std::move(all), out, a...);
    } else {
      next(F{}(std::move(all), a...));
    }
  }
};

}  // namespace hydrogen::exec
