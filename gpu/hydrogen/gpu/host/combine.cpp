#include <hydrogen/gpu/host/group.hpp>
#include <hydrogen/gpu/host/past_cache.hpp>
#include <hydrogen/gpu/host/run.hpp>
#include <hydrogen/gpu/host/scratch.hpp>
#include <hydrogen/gpu/host/targets.hpp>
#include <hydrogen/gpu/host/widen.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hydrogen/gpu/host/combine.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hydrogen/gpu/host/lanes-inl.hpp>

#include <bit>
#include <cstring>
#include <type_traits>

HWY_BEFORE_NAMESPACE();
namespace hydrogen::gpu::host::HWY_NAMESPACE {

/// to[i] = x0[i] with x1[i]; of four, the first two with the last two. `to` may be one of them.
template <class A>
void combine(work::reduction how, const group<A>& x, A* to, std::size_t n) {
  using work::reduction;
  const auto loop = [&](auto&& f) HWY_ATTR {
    if (x.size == 2) {
      return for_lanes<A>(n, [&](auto d, std::size_t i) HWY_ATTR {
        hn::StoreU(f(hn::LoadU(d, x.at[0] + i), hn::LoadU(d, x.at[1] + i)), d, to + i);
      });
    }
    for_lanes<A>(n, [&](auto d, std::size_t i) HWY_ATTR {
      const auto left = f(hn::LoadU(d, x.at[0] + i), hn::LoadU(d, x.at[1] + i));
      hn::StoreU(f(left, f(hn::LoadU(d, x.at[2] + i), hn::LoadU(d, x.at[3] + i))), d, to + i);
    });
  };
  switch (how) {
    case reduction::sum:
    case reduction::mean:
      return loop([](auto a, auto b) HWY_ATTR { return hn::Add(a, b); });
    case reduction::min:
      return loop([](auto a, auto b) HWY_ATTR {
        if constexpr (std::is_integral_v<A>) {
          return hn::IfThenElse(hn::Lt(b, a), b, a);
        } else {
          return hn::IfThenElse(hn::Or(hn::Le(a, b), hn::IsNaN(a)), a, b);
        }
      });
    case reduction::max:
      return loop([](auto a, auto b) HWY_ATTR {
        if constexpr (std::is_integral_v<A>) {
          return hn::IfThenElse(hn::Lt(a, b), b, a);
        } else {
          return hn::IfThenElse(hn::Or(hn::Ge(a, b), hn::IsNaN(a)), a, b);
        }
      });
    case reduction::product:
      if constexpr (std::is_same_v<A, std::int64_t>) {  // no such instruction before AVX-512
        for (std::size_t i = 0; i < n; ++i) {
          std::uint64_t product = 1;
          for (std::uint32_t k = 0; k < x.size; ++k) product *= static_cast<std::uint64_t>(x.at[k][i]);
          to[i] = static_cast<A>(product);
        }
      } else {
        loop([](auto a, auto b) HWY_ATTR { return hn::Mul(a, b); });
      }
  }
}

template <class A>
void divide(const A* x, A by, A* to, std::size_t n) {
  for_lanes<A>(
      n, [&](auto d, std::size_t i) HWY_ATTR { hn::StoreU(hn::Div(hn::LoadU(d, x + i), hn::Set(d, by)), d, to + i); });
}

void combine_float(work::reduction how, const group<float>& x, float* to, std::size_t n) {
  combine(how, x, to, n);
}
void combine_double(work::reduction how, const group<double>& x, double* to, std::size_t n) {
  combine(how, x, to, n);
}
void combine_int32(work::reduction how, const group<std::int32_t>& x, std::int32_t* to, std::size_t n) {
  combine(how, x, to, n);
}
void combine_int64(work::reduction how, const group<std::int64_t>& x, std::int64_t* to, std::size_t n) {
  combine(how, x, to, n);
}
void divide_float(const float* x, float by, float* to, std::size_t n) {
  divide(x, by, to, n);
}
void divide_double(const double* x, double by, double* to, std::size_t n) {
  divide(x, by, to, n);
}

}  // namespace hydrogen::gpu::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hydrogen::gpu::host {

HWY_EXPORT(combine_float);
HWY_EXPORT(combine_double);
HWY_EXPORT(combine_int32);
HWY_EXPORT(combine_int64);
HWY_EXPORT(divide_float);
HWY_EXPORT(divide_double);

namespace {

void combine(work::reduction how, const group<float>& x, float* to, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(combine_float)(how, x, to, n);
}
void combine(work::reduction how, const group<double>& x, double* to, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(combine_double)(how, x, to, n);
}
void combine(work::reduction how, const group<std::int32_t>& x, std::int32_t* to, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(combine_int32)(how, x, to, n);
}
void combine(work::reduction how, const group<std::int64_t>& x, std::int64_t* to, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(combine_int64)(how, x, to, n);
}

template <class A>
void divide_by(const A* x, std::uint32_t by, A* to, std::size_t n) {
  if constexpr (std::is_same_v<A, float>) {
    HWY_DYNAMIC_DISPATCH(divide_float)(x, static_cast<float>(by), to, n);
  } else if constexpr (std::is_same_v<A, double>) {
    HWY_DYNAMIC_DISPATCH(divide_double)(x, by, to, n);
  } else {
    for (std::size_t i = 0; i < n; ++i) to[i] = x[i] / static_cast<A>(by);
  }
}

/// Numbers of T, combined as A, block by block.
template <class T, class A>
class rank_tree {
 public:
  rank_tree(const work::reduce_ranks& w, void* scratch)
      : w_(w), block_(reduce_block(w.n, sizeof(A))), scratch_(static_cast<A*>(scratch)) {
    for (std::uint32_t o = 0; o < w.outputs; ++o) {
      past_cache_[o] = w.n >= past_cache_from / sizeof(T);
      for (std::uint32_t i = 0; i < w.inputs; ++i) past_cache_[o] = past_cache_[o] && w.to[o] != w.from[i];
    }
  }

  void run() {
    for (std::size_t first = 0; first < w_.n; first += block_) {
      first_ = first;
      n_ = std::min(block_, w_.n - first);
      deliver(tree());
    }
    finish_past_cache();
  }

 private:
  static constexpr std::size_t levels = 5;  // of up to 16 ranks
  static_assert(reduce_blocks == 2 * levels + 4);

  struct part {
    const A* at;
    std::uint32_t ranks;
  };

  /// What is in hand after some ranks are the powers of two that they add up to, the largest first.
  const A* tree() {
    part parts[levels];
    std::uint32_t held = 0;
    for (std::uint32_t rank = 0; rank < w_.inputs;) {
      part next = leaves(rank);
      rank += next.ranks;
      for (; held > 0 && parts[held - 1].ranks == next.ranks; --held) {
        next.ranks *= 2;
        A* to = value(next.ranks, rank);
        combine(w_.how, {{parts[held - 1].at, next.at}, 2}, to, n_);
        next.at = to;
      }
      parts[held++] = next;
    }
    for (; held > 1; --held) {
      combine(w_.how, {{parts[held - 2].at, parts[held - 1].at}, 2}, result(), n_);
      parts[held - 2].at = result();
    }
    return parts[0].at;
  }

  /// The next four ranks, which are read side by side, or the next one.
  part leaves(std::uint32_t rank) {
    if (w_.inputs - rank < 4) return {leaf(rank), 1};
    A* to = value(4, rank + 4);
    combine(w_.how, {{leaf(rank), leaf(rank + 1), leaf(rank + 2), leaf(rank + 3)}, 4}, to, n_);
    return {to, 4};
  }

  /// For what so many ranks, the last one before `end`, add up to: two of each power of two, by turns; four of one.
  A* value(std::uint32_t ranks, std::uint32_t end) {
    const auto level = static_cast<std::uint32_t>(std::bit_width(ranks));
    const auto which = ranks == 1 ? (end - 1) % 4 : 2 + 2 * (level - 1) + (end - 1) / ranks % 2;
    return scratch_ + which * block_;
  }
  A* result() { return scratch_ + (2 * levels + 2) * block_; }

  const A* leaf(std::uint32_t rank) {
    const auto* from = static_cast<const T*>(w_.from[rank]) + first_;
    if constexpr (std::is_same_v<T, A>) {
      return from;
    } else {
      A* to = value(1, rank + 1);
      widen(from, element_of<T>, to, n_);
      return to;
    }
  }

  void deliver(const A* value) {
    if (w_.how == work::reduction::mean && w_.inputs > 1) {
      divide_by(value, w_.inputs, result(), n_);
      value = result();
    }
    const void* out = value;
    if constexpr (!std::is_same_v<T, A>) {
      T* narrowed = reinterpret_cast<T*>(scratch_ + (2 * levels + 3) * block_);
      narrow(value, narrowed, n_);
      out = narrowed;
    }
    for (std::uint32_t o = 0; o < w_.outputs; ++o) {
      T* to = static_cast<T*>(w_.to[o]) + first_;
      if (to == out) continue;
      if (past_cache_[o])
        write_past_cache(to, out, n_ * sizeof(T));
      else
        std::memcpy(to, out, n_ * sizeof(T));
    }
  }

  const work::reduce_ranks& w_;
  bool past_cache_[work::reduce_ranks::most] = {};
  std::size_t first_ = 0, n_ = 0;
  const std::size_t block_;
  A* const scratch_;
};

}  // namespace

void run(const work::reduce_ranks& w, run_context& context) {
  switch (w.type) {
    case element::float64:
      return rank_tree<double, double>(w, context.scratch).run();
    case element::int32:
      return rank_tree<std::int32_t, std::int32_t>(w, context.scratch).run();
    case element::int64:
      return rank_tree<std::int64_t, std::int64_t>(w, context.scratch).run();
    case element::half:
      return rank_tree<half, float>(w, context.scratch).run();
    case element::bfloat16:
      return rank_tree<bfloat16, float>(w, context.scratch).run();
    default:
      return rank_tree<float, float>(w, context.scratch).run();
  }
}

}  // namespace hydrogen::gpu::host
#endif
