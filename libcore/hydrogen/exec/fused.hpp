#pragma once
// A closed chain as one operator: head, steps and sink composed at compile time. Called once per block; inside, one
// loop over rows with every step inlined.

#include <hydrogen/exec/heads.hpp>
#include <hydrogen/exec/registry.hpp>
#include <hydrogen/exec/sinks.hpp>

namespace hydrogen::exec {

template <class Head, class... Steps>
struct row_after {
  using type = typename std::tuple_element_t<sizeof...(Steps) - 1, std::tuple<Steps...>>::row;
};
template <class Head>
struct row_after<Head> {
  using type = typename Head::row;
};

template <class Head, class Sink, class... Steps>
class fused final : public operator_body {
  template <class... S>
  struct first_takes_blocks : std::false_type {};
  template <class S, class... More>
  requires requires(S& s, const data::block_ptr& b) { s.take_block(b); }
  struct first_takes_blocks<S, More...> : std::true_type {};

 public:
  static constexpr bool takes_blocks = first_takes_blocks<Steps...>::value;

  explicit fused(operator_site& site) : site_(site) {
    data::row_reader in(site.parameters);
    head_.start(site_, in);
    std::apply([&](Steps&... s) { (s.start(site_, in), ...); }, steps_);
    sink_.start(site_, in);
    if (!in.ok() || in.left() != 0) {
      throw failure({errc::mismatch,
                     "the parameters of an operator cannot be decoded",
                     {},
                     "driver and executor must run the same build"});
    }
  }

  void block(const data::block_ptr& b) override { head_.block(b, *this); }
  void finish() override {
    head_.finish(*this);
    finish_steps<0>();
    sink_.finish();
  }
  bool wants_more() const override {
    if (site_.environment.abort.is_set()) throw failure(site_.environment.abort.reason());
    return !sink_.full() && site_.out.wants_more();
  }

  // ---- for heads ---------------------------------------------------------------------------------------------------

  bool ready() const { return sink_.ready(); }
  void take_block(const data::block_ptr& b) {
    if constexpr (takes_blocks) std::get<0>(steps_).take_block(b);
  }
  template <class R>
  void one(R&& r) {
    single end{sink_};
    link<0, single> push{*this, end};
    push(std::forward<R>(r));
  }
  /// When `ready`.
  template <class Generate>
  void rows(Generate&& generate) {
    auto end = sink_.open();
    link<0, decltype(end)> push{*this, end};
    generate(push);
    sink_.close(end);
  }
  template <class Generate>
  void any_rows(Generate&& generate) {
    if constexpr (Sink::always_ready) {
      rows(generate);
    } else {
      single end{sink_};
      link<0, single> push{*this, end};
      generate(push);
    }
  }

 private:
  struct single {
    Sink& sink;
    template <class R>
    void operator()(R&& r) {
      sink.one(std::forward<R>(r));
    }
  };
  /// Step I and all behind it.
  template <std::size_t I, class End>
  struct link {
    fused& chain;
    End& end;
    template <class R>
    [[gnu::always_inline]] void operator()(R&& r) {
      if constexpr (I == sizeof...(Steps)) {
        end(std::forward<R>(r));
      } else {
        link<I + 1, End> next{chain, end};
        std::get<I>(chain.steps_).put(std::forward<R>(r), next);
      }
    }
  };
  template <std::size_t I>
  void finish_steps() {
    if constexpr (I < sizeof...(Steps)) {
      single end{sink_};
      link<I + 1, single> next{*this, end};
      std::get<I>(steps_).finish(next);
      finish_steps<I + 1>();
    }
  }

  operator_site site_;
  Head head_;
  std::tuple<Steps...> steps_;
  Sink sink_;
};

}  // namespace hydrogen::exec
