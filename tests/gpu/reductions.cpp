#include <hydrogen/gpu/host/pairwise.hpp>
#include <hydrogen/gpu/kernels/reductions.hpp>

#include "kernel_testing.hpp"

#include <algorithm>

namespace kernel_tests {
namespace {

using work::reduction;
constexpr reduction every_reduction[] = {reduction::sum, reduction::mean, reduction::min, reduction::max,
                                         reduction::product};

template <class A>
A pair_up(reduction how, A a, A b) {
  if (how == reduction::min) return is_nan(a) || a <= b ? a : b;
  if (how == reduction::max) return is_nan(a) || a >= b ? a : b;
  if constexpr (std::is_integral_v<A>) {
    using U = std::make_unsigned_t<A>;
    return static_cast<A>(how == reduction::product ? static_cast<U>(a) * static_cast<U>(b)
                                                    : static_cast<U>(a) + static_cast<U>(b));
  } else {
    return how == reduction::product ? a * b : a + b;
  }
}

template <class A>
A tree(reduction how, const std::vector<A>& x, std::size_t a, std::size_t b) {
  if (b - a == 1) return x[a];
  const auto k = std::bit_floor(b - a - 1);
  return pair_up(how, tree(how, x, a, a + k), tree(how, x, a + k, b));
}

template <class T>
std::vector<T> values_of(rig& r, std::size_t n) {
  std::vector<T> v;
  if constexpr (std::is_integral_v<T>) {
    for (std::size_t i = 0; i < n; ++i) v.push_back(static_cast<T>(r.random()));
  } else {
    for (const float x : r.odd_numbers(n)) v.push_back(static_cast<T>(x));
  }
  return v;
}

/// `T` numbers, which are combined as `A`.
template <class T, class A>
void check_ranks(rig& r, std::size_t ranks, std::size_t outputs, std::size_t n, reduction how) {
  std::vector<std::vector<T>> values;
  for (std::size_t i = 0; i < ranks; ++i) values.push_back(values_of<T>(r, n));
  std::vector<T> want;
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<A> all;
    for (const auto& v : values) all.push_back(static_cast<A>(v[i]));
    A x = tree(how, all, 0, ranks);
    if (how == reduction::mean && ranks > 1) x = static_cast<A>(x / static_cast<A>(ranks));
    want.push_back(static_cast<T>(x));
  }
  std::vector<buffer<T>> from, to;
  for (const auto& v : values) from.push_back(r.put(v));
  for (std::size_t i = 0; i < outputs; ++i) to.push_back(r.blank<T>(n));
  kernels::reduce_ranks(r.s, how, from, to);
  for (const auto& b : to) check_same(r.get(b), want);
  // In place: every rank gets the result, and somebody else, too.
  auto all = from;
  if (all.size() < 16) all.push_back(r.blank<T>(n));
  kernels::reduce_ranks(r.s, how, from, all);
  for (const auto& b : all) check_same(r.get(b), want);
}

}  // namespace

TEST_CASE("ranks are combined in the order of their tree, for all types, in place and apart") {
  on_every_device([](rig& r) {
    for (const auto how : every_reduction) {
      for (std::size_t ranks = 1; ranks <= 16; ++ranks) {
        CAPTURE(ranks);
        CAPTURE(static_cast<int>(how));
        const std::size_t n = ranks * 37 % 5 == 0 ? 0 : 1 + r.random.below(1500);
        check_ranks<float, float>(r, ranks, 1 + r.random.below(3), n, how);
        check_ranks<double, double>(r, ranks, 1, n, how);
        check_ranks<std::int32_t, std::int32_t>(r, ranks, 1, n, how);
        check_ranks<std::int64_t, std::int64_t>(r, ranks, 2, n, how);
        check_ranks<half, float>(r, ranks, 1, n, how);
        check_ranks<bfloat16, float>(r, ranks, 1, n, how);
      }
    }
    check_ranks<float, float>(r, 3, 2, beyond_cache, reduction::mean);
    check_ranks<half, float>(r, 2, 1, 2 * beyond_cache, reduction::sum);
  });
}

TEST_CASE("a sum is pairwise, to the bit") {
  on_every_device([](rig& r) {
    for (const std::size_t n : {0, 1, 2, 255, 256, 257, 8191, 8192, 8193, 20'011, 131'072, 300'007}) {
      CAPTURE(n);
      const auto x = r.numbers(n);
      const auto to = r.blank<float>(1);
      kernels::sum(r.s, r.put(x), to);
      check_same(r.get(to), {pairwise_sum(x)});
    }
    const auto to = r.blank<float>(1);
    for (const auto& [x, want] :
         {std::pair{std::vector<float>(300, -0.0F), -0.0F}, std::pair{std::vector<float>{}, 0.0F},
          std::pair{std::vector<float>{inf_f, 1, -inf_f}, nan_f}, std::pair{std::vector<float>{inf_f, 1}, inf_f}}) {
      kernels::sum(r.s, r.put(x), to);
      check_same(r.get(to), {want});
    }
  });
}

TEST_CASE("the sums of pieces are summed as the pieces are, for more of them than one piece has elements") {
  random_source random(fresh_seed());
  for (const std::size_t n : {0, 1, 255, 8192, 8193, 3 * 8192, 3 * 8192 + 77}) {
    std::vector<double> sums(n);
    for (auto& x : sums) x = random.unit() - 0.5;
    host::piece_sums<double> all;
    for (const double x : sums) all.add(x);
    check_same(std::vector{all.total()}, {pairwise_sum(sums)});
  }
}

TEST_CASE("a maximum is the largest number, +0 above -0, and a NaN wins") {
  on_every_device([](rig& r) {
    const auto largest = [&](const std::vector<float>& x) {
      const auto to = r.blank<float>(1);
      kernels::max(r.s, r.put(x), to);
      return r.get(to);
    };
    for (const std::size_t n : {1, 7, 8, 9, 1023, 20'011}) {
      const auto x = r.numbers(n, 1e30);
      check_same(largest(x), {*std::max_element(x.begin(), x.end())});
      auto with_nan = x;
      with_nan[r.random.below(n)] = nan_f;
      check_same(largest(with_nan), {nan_f});
      std::vector<float> zeros(n, -0.0F);
      check_same(largest(zeros), {-0.0F});
      zeros[r.random.below(n)] = 0.0F;
      check_same(largest(zeros), {0.0F});
    }
    check_same(largest({}), {-inf_f});
    check_same(largest({-inf_f, -inf_f}), {-inf_f});
  });
}

TEST_CASE("argmax takes the first of equal maxima, and a NaN only where there is nothing else") {
  on_every_device([](rig& r) {
    for (const std::size_t columns : {1, 2, 7, 8, 19, 1000}) {
      const std::size_t rows = 1 + r.random.below(50);
      auto x = r.odd_numbers(rows * columns);
      for (auto& v : x) v = std::round(v * 4) / 4;  // many are equal
      if (r.random.chance(0.5)) std::fill_n(x.begin(), columns, nan_f);
      if (rows > 1) std::fill_n(x.begin() + static_cast<std::ptrdiff_t>(columns), columns, -inf_f);
      std::vector<std::uint32_t> want;
      for (std::size_t row = 0; row < rows; ++row) {
        const float* at = x.data() + row * columns;
        std::size_t best = 0;
        for (std::size_t c = 1; c < columns; ++c) {
          if (at[c] > at[best] || (std::isnan(at[best]) && !std::isnan(at[c]))) best = c;
        }
        want.push_back(static_cast<std::uint32_t>(best));
      }
      const auto index = r.blank<std::uint32_t>(rows);
      kernels::argmax(r.s, matrix_of<float>(r.put(x), rows, columns), index);
      check_same(r.get(index), want);
    }
    kernels::argmax(r.s, matrix_of<float>({}, 0, 0), {});
    CHECK(r.outcome() == "done");
  });
}

TEST_CASE("rows are summed in pieces of 128, to the bit") {
  on_every_device([](rig& r) {
    for (const std::size_t rows : {0, 1, 127, 128, 129, 400}) {
      for (const std::size_t columns : {1, 10, 33, 1029}) {
        const auto x = r.numbers(rows * columns);
        const auto sums = r.blank<float>(columns);
        const buffer<float> values = rows == 0 ? buffer<float>{} : r.put(x);
        kernels::sum_rows(r.s, matrix_of<float>(values, rows, columns), sums);
        check_same(r.get(sums), sums_of_rows(x, rows, columns));
      }
    }
  });
}

TEST_CASE("a norm above the limit is clipped, over all tensors, and one that is not finite is only reported") {
  on_every_device([](rig& r) {
    for (const double most : {1e-3, 1e9}) {
      std::vector<std::vector<float>> values;
      for (const std::size_t n : {0, 1, 9000, 257}) values.push_back(r.numbers(n));
      std::vector<buffer<float>> tensors;
      for (const auto& v : values) tensors.push_back(r.put(v));
      double squares = 0;
      for (const auto& v : values) {
        squares += pairwise_sum([&] {
          std::vector<double> all;
          for (const double x : v) all.push_back(x * x);
          return all;
        }());
      }
      const auto norm = r.blank<float>(1);
      kernels::clip_by_global_norm(r.s, tensors, most, norm);
      const double want = std::sqrt(squares);
      check_close(
          r.get(norm), [&](std::size_t) { return want; }, [&](std::size_t) { return rounding * want; });
      const float factor = want > most ? static_cast<float>(most / want) : 1;
      for (std::size_t t = 0; t < values.size(); ++t) {
        check_close(
            r.get(tensors[t]), [&](std::size_t i) { return static_cast<double>(values[t][i]) * factor; },
            [&](std::size_t i) { return 2 * rounding * std::abs(values[t][i] * factor); });
      }
    }
    for (const float odd : {inf_f, nan_f}) {
      const std::vector<float> values{1, odd, 3};
      const std::vector<buffer<float>> tensors{r.put(values)};
      const auto norm = r.blank<float>(1);
      kernels::clip_by_global_norm(r.s, tensors, 0.5, norm);
      check_same(r.get(norm), {odd});
      check_same(r.get(tensors[0]), values);
    }
    const auto norm = r.blank<float>(1);
    kernels::clip_by_global_norm(r.s, {}, 1, norm);
    check_same(r.get(norm), {0.0F});
  });
}

}  // namespace kernel_tests
