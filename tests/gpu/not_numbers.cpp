// NaN and infinity in kernels that mix numbers: they reach what depends on them, and nothing else. And rows that are
// wider than any block of threads.

#include <hydrogen/gpu/kernels/clustering.hpp>
#include <hydrogen/gpu/kernels/elementwise.hpp>
#include <hydrogen/gpu/kernels/layers.hpp>
#include <hydrogen/gpu/kernels/matrix_product.hpp>
#include <hydrogen/gpu/kernels/optimisers.hpp>
#include <hydrogen/gpu/kernels/reductions.hpp>

#include "kernel_testing.hpp"

#include <functional>

namespace kernel_tests {
namespace {

constexpr std::size_t rows = 37, columns = 29;
constexpr float odd_numbers_[] = {nan_f, inf_f, -inf_f};

/// `touched(i)`: element i depends on the odd number, and is not finite; all others are the bits of `without`.
void check_reach(const std::vector<float>& with, const std::vector<float>& without,
                 const std::function<bool(std::size_t)>& touched) {
  REQUIRE(with.size() == without.size());
  for (std::size_t i = 0; i < with.size(); ++i) {
    const bool right = touched(i) ? !std::isfinite(with[i]) : with[i] == without[i];
    if (right) continue;
    FAIL_CHECK("element " << i << " is " << with[i] << ", without the odd number " << without[i]);
    return;
  }
  CHECK(true);
}

}  // namespace

TEST_CASE("what is no number in a factor reaches its row or column of a product") {
  on_every_device([](rig& r) {
    const auto a = r.numbers(rows * columns), b = r.numbers(columns * rows);
    const auto product = [&](const std::vector<float>& x, const std::vector<float>& y) {
      const auto c = r.blank<float>(rows * rows);
      kernels::matrix_product(r.s, 1, matrix_of<const float>(r.put(x), rows, columns),
                              matrix_of<const float>(r.put(y), columns, rows), 0, matrix_of<float>(c, rows, rows));
      return r.get(c);
    };
    const auto without = product(a, b);
    for (const float odd : odd_numbers_) {
      auto x = a;
      x[5 * columns + 3] = odd;
      check_reach(product(x, b), without, [](std::size_t i) { return i / rows == 5; });
      auto y = b;
      y[4 * rows + 7] = odd;
      check_reach(product(a, y), without, [](std::size_t i) { return i % rows == 7; });
    }
  });
}

TEST_CASE("what is no number in a row reaches that row of a layer norm, and the sums of its gradient") {
  on_every_device([](rig& r) {
    const auto x = r.numbers(rows * columns), gradient = r.numbers(rows * columns);
    const auto weight = r.put(r.numbers(columns)), bias = r.put(r.numbers(columns));
    struct outcome {
      std::vector<float> y, dx, dweight, dbias;
    };
    const auto norm = [&](const std::vector<float>& values, const std::vector<float>& slopes) {
      const matrix_of<const float> in(r.put(values), rows, columns), dy(r.put(slopes), rows, columns);
      const matrix_of<float> y(r.blank<float>(rows * columns), rows, columns),
          dx(r.blank<float>(rows * columns), rows, columns);
      const auto mean = r.blank<float>(rows), inverse = r.blank<float>(rows), dw = r.blank<float>(columns),
                 db = r.blank<float>(columns);
      kernels::layer_norm(r.s, in, weight, bias, 1e-5F, y, mean, inverse);
      kernels::layer_norm_gradient(r.s, in, dy, weight, mean, inverse, dx, dw, db);
      return outcome{r.get(y.values), r.get(dx.values), r.get(dw), r.get(db)};
    };
    const auto without = norm(x, gradient);
    const auto row = [](std::size_t i) { return i / columns == 8; };
    const auto all = [](std::size_t) { return true; };
    const auto none = [](std::size_t) { return false; };
    for (const float odd : odd_numbers_) {
      auto bad = x;
      bad[8 * columns + 2] = odd;
      const auto with = norm(bad, gradient);
      check_reach(with.dx, without.dx, row);
      check_reach(with.dweight, without.dweight, all);
      check_reach(with.dbias, without.dbias, none);
      for (std::size_t i = 0; i < with.y.size(); ++i) CHECK((row(i) || with.y[i] == without.y[i]));
      bad = gradient;
      bad[8 * columns + 2] = odd;
      const auto slopes = norm(x, bad);
      check_reach(slopes.y, without.y, none);
      check_reach(slopes.dx, without.dx, row);
      check_reach(slopes.dbias, without.dbias, [](std::size_t i) { return i == 2; });
      check_reach(slopes.dweight, without.dweight, [](std::size_t i) { return i == 2; });
    }
  });
}

TEST_CASE("a gradient that is no number spoils its parameter and no other, in any optimiser and activation") {
  on_every_device([](rig& r) {
    constexpr std::size_t n = 1023, at = 400;
    const auto value = r.numbers(n), gradient = r.numbers(n);
    const auto only = [](std::size_t i) { return i == at; };
    const auto adam = [&](const std::vector<float>& g) {
      const auto v = r.put(value);
      const kernels::adam_tensor t{v, r.put(g), r.put(std::vector<float>(n)), r.put(std::vector<float>(n))};
      kernels::adam_step(r.s, std::span(&t, 1), {}, r.put(std::vector<std::uint64_t>{0}));
      return r.get(v);
    };
    const auto sgd = [&](const std::vector<float>& g) {
      const auto v = r.put(value);
      const kernels::sgd_tensor t{v, r.put(g), r.put(std::vector<float>(n))};
      kernels::sgd_step(r.s, std::span(&t, 1), {});
      return r.get(v);
    };
    for (const float odd : odd_numbers_) {
      auto bad = gradient;
      bad[at] = odd;
      check_reach(adam(bad), adam(gradient), only);
      check_reach(sgd(bad), sgd(gradient), only);
      for (const auto how : {work::function::relu, work::function::gelu}) {
        const auto slopes = [&](const std::vector<float>& g) {
          const auto to = r.blank<float>(n);
          kernels::activate_gradient(r.s, how, r.put(std::vector<float>(n, 0.5F)), r.put(g), to);
          return r.get(to);
        };
        check_reach(slopes(bad), slopes(gradient), only);
      }
    }
  });
}

TEST_CASE("a row that is no number spoils the row it is added to, and its cluster") {
  on_every_device([](rig& r) {
    const auto x = r.numbers(rows * columns), table = r.numbers(11 * columns);
    auto index = r.indices(rows, 11);
    const auto added = [&](const std::vector<float>& from) {
      const auto to = r.put(table);
      kernels::scatter_add_rows(r.s, matrix_of<const float>(r.put(from), rows, columns), r.put(index),
                                matrix_of<float>(to, 11, columns));
      return r.get(to);
    };
    const auto clustered = [&](const std::vector<float>& from) {
      const auto sums = r.blank<float>(11 * columns);
      kernels::kmeans_accumulate(r.s, matrix_of<const float>(r.put(from), rows, columns), r.put(index),
                                 matrix_of<float>(sums, 11, columns), r.blank<std::uint32_t>(11));
      return r.get(sums);
    };
    for (const float odd : odd_numbers_) {
      auto bad = x;
      bad[20 * columns + 6] = odd;
      const auto touched = [&](std::size_t i) { return i == index[20] * columns + 6; };
      check_reach(added(bad), added(x), touched);
      check_reach(clustered(bad), clustered(x), touched);
    }
  });
}

TEST_CASE("rows of more columns than a block of threads or its memory holds") {
  on_every_device([](rig& r) {
    for (const std::size_t wide : {16'385UL, 70'001UL}) {
      constexpr std::size_t few = 3;
      const auto x = r.numbers(few * wide, 4);
      const auto labels = r.indices(few, wide);
      const auto loss = r.blank<float>(few), gradient = r.blank<float>(few * wide);
      const matrix_of<const float> in(r.put(x), few, wide);
      kernels::softmax_cross_entropy(r.s, in, r.put(labels), 1, loss, gradient);
      const auto index = r.blank<std::uint32_t>(few);
      kernels::argmax(r.s, in, index);
      const matrix_of<float> y(r.blank<float>(few * wide), few, wide);
      const auto mean = r.blank<float>(few), inverse = r.blank<float>(few);
      kernels::layer_norm(r.s, in, r.put(std::vector<float>(wide, 1)), r.put(std::vector<float>(wide, 0)), 1e-5F, y,
                          mean, inverse);
      const auto losses = r.get(loss), slopes = r.get(gradient), normed = r.get(y.values);
      const auto largest = r.get(index);
      for (std::size_t row = 0; row < few; ++row) {
        const float* v = x.data() + row * wide;
        const auto top = static_cast<std::size_t>(std::max_element(v, v + wide) - v);
        CHECK(largest[row] == top);
        double sum = 0, total = 0, squares = 0;
        for (std::size_t c = 0; c < wide; ++c) {
          sum += std::exp(static_cast<double>(v[c]) - v[top]);
          total += v[c];
        }
        const double middle = total / static_cast<double>(wide);
        for (std::size_t c = 0; c < wide; ++c) squares += (v[c] - middle) * (v[c] - middle);
        const double scale = 1 / std::sqrt(squares / static_cast<double>(wide) + 1e-5);
        CHECK(losses[row] == doctest::Approx(std::log(sum) - (v[labels[row]] - v[top])).epsilon(1e-5));
        double worst_slope = 0, worst_norm = 0;
        for (std::size_t c = 0; c < wide; ++c) {
          const double want = std::exp(static_cast<double>(v[c]) - v[top]) / sum - (c == labels[row] ? 1 : 0);
          worst_slope = std::max(worst_slope, std::abs(slopes[row * wide + c] - want));
          worst_norm = std::max(worst_norm, std::abs(normed[row * wide + c] - (v[c] - middle) * scale));
        }
        CHECK(worst_slope < 1e-5);
        CHECK(worst_norm < 1e-4);
      }
    }
  });
}

TEST_CASE("results do not depend on how many threads a virtual device has") {
  const auto run = [](std::uint32_t threads) {
    rig r(value_or_throw(device::open(virtual_devices(1, std::uint64_t{1} << 30, threads).front())));
    random_source random(11);
    std::vector<float> start(60 * 1000);
    for (auto& x : start) x = static_cast<float>(random.unit() * 2 - 1);
    std::vector<stream> streams;
    for (int i = 0; i < 4; ++i) streams.push_back(value_or_throw(r.on->make_stream("s")));
    const auto a = r.put(start), b = r.put(start);
    std::vector<buffer<float>> sums;
    for (int i = 0; i < 40; ++i) {
      auto& s = streams[static_cast<std::size_t>(i) % streams.size()];
      const matrix_of<float> x(i % 2 == 0 ? a : b, 60, 1000), y(i % 2 == 0 ? b : a, 60, 1000);
      kernels::axpy(s, 0.37F, x.values, y.values);
      kernels::activate(s, work::function::gelu, y.values, y.values);
      sums.push_back(s.allocate<float>(1000));
      kernels::sum_rows(s, y, sums.back());
      kernels::add_bias(s, x, sums.back(), x);
      kernels::scale(s, 0.01F, x.values);
    }
    auto all = r.get(a);
    for (const auto& more : {r.get(b), r.get(sums.back())}) all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const auto one = run(1);
  for (const std::uint32_t threads : {2, 5}) check_same(run(threads), one);
}

}  // namespace kernel_tests
