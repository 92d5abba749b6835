#include <hydrogen/gpu/kernels/elementwise.hpp>

#include "kernel_testing.hpp"

namespace kernel_tests {
namespace {

template <class T>
void check_fill(rig& r, T value) {
  for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{5}, std::size_t{4099}, beyond_cache}) {
    const auto to = r.blank<T>(n);
    kernels::fill(r.s, value, to);
    check_same(r.get(to), std::vector<T>(n, value));
  }
}

/// Every bit pattern of binary16 and bfloat16, and what lies around the numbers between them.
std::vector<float> numbers_near_short_ones() {
  std::vector<float> all;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    for (const float middle : {static_cast<float>(std::bit_cast<half>(static_cast<std::uint16_t>(bits))),
                               static_cast<float>(std::bit_cast<bfloat16>(static_cast<std::uint16_t>(bits)))}) {
      const auto of_float = std::bit_cast<std::uint32_t>(middle);
      for (const std::uint32_t off : {0x0U, 0x1U, 0xFFFU, 0x1000U, 0x1001U, 0x7FFFU, 0x8000U, 0x8001U}) {
        all.push_back(std::bit_cast<float>(of_float + off));
      }
    }
  }
  return all;
}

template <class From, class To>
void check_cast(rig& r, const std::vector<From>& from) {
  std::vector<To> want;
  for (const auto x : from) {
    if constexpr (sizeof(From) == 2 || sizeof(To) == 2)
      want.push_back(static_cast<To>(static_cast<float>(x)));
    else
      want.push_back(static_cast<To>(x));
  }
  const auto to = r.blank<To>(from.size());
  kernels::cast(r.s, r.put(from), to);
  check_same(r.get(to), want);
}

template <class From>
void check_casts(rig& r, const std::vector<float>& numbers) {
  std::vector<From> from;
  for (const float x : numbers) from.push_back(static_cast<From>(x));
  check_cast<From, float>(r, from);
  check_cast<From, double>(r, from);
  check_cast<From, half>(r, from);
  check_cast<From, bfloat16>(r, from);
}

double gelu(double x) {
  return x * 0.5 * (1 + std::erf(x / std::sqrt(2.0)));
}

double gelu_slope(double x) {
  const double density = std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0));
  return 0.5 * (1 + std::erf(x / std::sqrt(2.0))) + (std::isinf(x) ? 0 : x * density);
}

}  // namespace

TEST_CASE("fill writes every element of each type, within and beyond the cache") {
  on_every_device([](rig& r) {
    check_fill<float>(r, 3.5F);
    check_fill<double>(r, -1e300);
    check_fill<half>(r, half(1.5F));
    check_fill<std::uint8_t>(r, 7);
    check_fill<std::int64_t>(r, -2);
  });
}

TEST_CASE("copy copies") {
  on_every_device([](rig& r) {
    for (const auto n : some_sizes) {
      const auto values = r.odd_numbers(n);
      const auto to = r.blank<float>(n);
      kernels::copy(r.s, r.put(values), to);
      check_same(r.get(to), values);
    }
  });
}

TEST_CASE("casts round to nearest even, keep NaN, and overflow to infinity") {
  on_every_device([](rig& r) {
    for (const auto n : some_sizes) {
      const auto numbers = r.odd_numbers(n, 1e5);
      check_casts<float>(r, numbers);
      check_casts<double>(r, numbers);
      check_casts<half>(r, numbers);
      check_casts<bfloat16>(r, numbers);
    }
    const auto near = numbers_near_short_ones();
    check_casts<float>(r, near);
    std::vector<double> doubles;
    for (const float x : r.numbers(10'000)) {
      doubles.push_back(static_cast<double>(x) *
                        std::ldexp(1 + r.random.unit(), static_cast<int>(r.random.below(300)) - 150));
    }
    check_cast<double, float>(r, doubles);
    const auto large = r.numbers(2 * beyond_cache);
    check_cast<float, half>(r, large);
    check_cast<float, bfloat16>(r, large);
  });
}

TEST_CASE("axpy rounds the product before it adds, also onto itself") {
  on_every_device([](rig& r) {
    for (const auto n : some_sizes) {
      const auto x = r.odd_numbers(n), before = r.odd_numbers(n);
      const float a = 0.7F;
      std::vector<float> want, doubled;
      for (std::size_t i = 0; i < n; ++i) {
        const float product = a * x[i], own = a * before[i];
        want.push_back(before[i] + product);
        doubled.push_back(before[i] + own);
      }
      auto y = r.put(before);
      kernels::axpy(r.s, a, r.put(x), y);
      check_same(r.get(y), want);
      y = r.put(before);
      kernels::axpy(r.s, a, y, y);
      check_same(r.get(y), doubled);
    }
  });
}

TEST_CASE("scale multiplies") {
  on_every_device([](rig& r) {
    for (const auto n : some_sizes) {
      auto values = r.odd_numbers(n);
      const auto x = r.put(values);
      kernels::scale(r.s, -1.1F, x);
      for (auto& v : values) v *= -1.1F;
      check_same(r.get(x), values);
    }
  });
}

TEST_CASE("a bias goes to every row, also in place") {
  on_every_device([](rig& r) {
    for (const std::size_t rows : {0, 1, 5, 130}) {
      for (const std::size_t columns : {1, 10, 33}) {
        const auto values = r.odd_numbers(rows * columns), bias = r.odd_numbers(columns);
        std::vector<float> want;
        for (std::size_t i = 0; i < values.size(); ++i) want.push_back(values[i] + bias[i % columns]);
        const matrix_of<float> x(r.put(values), rows, columns), to(r.blank<float>(values.size()), rows, columns);
        kernels::add_bias(r.s, x, r.put(bias), to);
        check_same(r.get(to.values), want);
        kernels::add_bias(r.s, x, r.put(bias), x);
        check_same(r.get(x.values), want);
      }
    }
  });
}

TEST_CASE("relu and its slope, also in place and beyond the cache") {
  on_every_device([](rig& r) {
    for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{1023}, beyond_cache}) {
      const auto x = r.odd_numbers(n), gradient = r.odd_numbers(n);
      std::vector<float> want, want_gradient;
      for (std::size_t i = 0; i < n; ++i) {
        want.push_back(std::isnan(x[i]) || x[i] > 0 ? x[i] : 0.0F);
        want_gradient.push_back(gradient[i] * (x[i] > 0 ? 1.0F : 0.0F));
      }
      const auto in = r.put(x), slope = r.put(gradient), to = r.blank<float>(n);
      kernels::activate(r.s, work::function::relu, in, to);
      check_same(r.get(to), want);
      kernels::activate_gradient(r.s, work::function::relu, in, slope, to);
      check_same(r.get(to), want_gradient);
      kernels::activate_gradient(r.s, work::function::relu, in, slope, slope);
      check_same(r.get(slope), want_gradient);
      kernels::activate(r.s, work::function::relu, in, in);
      check_same(r.get(in), want);
    }
  });
}

TEST_CASE("gelu and its slope are within their tolerance, from the smallest to the largest number") {
  on_every_device([](rig& r) {
    for (const double size : {1e-3, 1.0, 6.0, 20.0, 1e30}) {
      for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{20'003}}) {
        const auto x = r.odd_numbers(n, size), gradient = r.numbers(n);
        const auto in = r.put(x), to = r.blank<float>(n);
        kernels::activate(r.s, work::function::gelu, in, to);
        check_close(
            r.get(to), [&](std::size_t i) { return gelu(x[i]); },
            [&](std::size_t i) { return 4 * rounding * std::abs(x[i]); });
        kernels::activate_gradient(r.s, work::function::gelu, in, r.put(gradient), to);
        check_close(
            r.get(to), [&](std::size_t i) { return gradient[i] * gelu_slope(x[i]); },
            [&](std::size_t i) { return 8 * rounding * std::abs(gradient[i]); });
      }
    }
  });
}

TEST_CASE("a counter counts, also in a recording") {
  on_every_device([](rig& r) {
    const auto counter = r.put(std::vector<std::uint64_t>{0xFFFFFFFF});
    kernels::increment(r.s, counter);
    CHECK(r.get(counter).front() == 0x100000000);
    r.s.begin_capture();
    kernels::increment(r.s, counter);
    kernels::increment(r.s, counter);
    const auto twice = value_or_throw(r.s.end_capture());
    r.s.replay(twice);
    r.s.replay(twice);
    CHECK(r.get(counter).front() == 0x100000004);
  });
}

}  // namespace kernel_tests
