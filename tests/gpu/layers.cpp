#include <hydrogen/gpu/kernels/layers.hpp>

#include "kernel_testing.hpp"

#include <algorithm>

namespace kernel_tests {
namespace {

struct row_facts {
  double mean = 0, deviation = 0, largest = 0;
};

row_facts facts_of(const float* x, std::size_t columns, float epsilon) {
  row_facts f;
  for (std::size_t c = 0; c < columns; ++c) {
    f.mean += x[c];
    f.largest = std::max(f.largest, std::abs(static_cast<double>(x[c])));
  }
  f.mean /= static_cast<double>(columns);
  double squares = 0;
  for (std::size_t c = 0; c < columns; ++c) squares += (x[c] - f.mean) * (x[c] - f.mean);
  f.deviation = std::sqrt(squares / static_cast<double>(columns) + epsilon);
  return f;
}

}  // namespace

TEST_CASE("layer normalisation equals the double-precision one, also in place and far from 0") {
  on_every_device([](rig& r) {
    for (const std::size_t rows : {0, 1, 5, 129}) {
      for (const std::size_t columns : {1, 2, 7, 64, 1031}) {
        for (const float centre : {0.0F, 100.0F}) {
          const float epsilon = 1e-5F;
          auto x = r.numbers(rows * columns, 2);
          for (auto& v : x) v += centre;
          const auto weight = r.numbers(columns), bias = r.numbers(columns);
          const matrix_of<float> in(r.put(x), rows, columns), to(r.blank<float>(x.size()), rows, columns);
          const auto mean = r.blank<float>(rows), inverse = r.blank<float>(rows);
          kernels::layer_norm(r.s, in, r.put(weight), r.put(bias), epsilon, to, mean, inverse);
          std::vector<row_facts> facts;
          for (std::size_t row = 0; row < rows; ++row) facts.push_back(facts_of(&x[row * columns], columns, epsilon));
          const auto close = [&](const std::vector<float>& got) {
            check_close(
                got,
                [&](std::size_t i) {
                  const auto& f = facts[i / columns];
                  return (x[i] - f.mean) / f.deviation * weight[i % columns] + bias[i % columns];
                },
                [&](std::size_t i) {
                  const auto& f = facts[i / columns];
                  return 16 * rounding *
                         (std::abs(weight[i % columns]) * f.largest / f.deviation + std::abs(bias[i % columns]));
                });
          };
          close(r.get(to.values));
          check_close(
              r.get(mean), [&](std::size_t i) { return facts[i].mean; },
              [&](std::size_t i) { return 16 * rounding * facts[i].largest; });
          check_close(
              r.get(inverse), [&](std::size_t i) { return 1 / facts[i].deviation; },
              [&](std::size_t i) {
                return 16 * rounding * (1 + facts[i].largest / facts[i].deviation) / facts[i].deviation;
              });
          kernels::layer_norm(r.s, in, r.put(weight), r.put(bias), epsilon, in, mean, inverse);
          close(r.get(in.values));
        }
      }
    }
  });
}

TEST_CASE("the gradients of layer normalisation: by x in double precision, those of its weights to the bit") {
  on_every_device([](rig& r) {
    for (const std::size_t rows : {0, 1, 127, 300}) {
      for (const std::size_t columns : {1, 2, 33, 515}) {
        const auto x = r.numbers(rows * columns), gradient = r.numbers(rows * columns), weight = r.numbers(columns);
        std::vector<float> mean, inverse, weighted, normal;
        for (std::size_t row = 0; row < rows; ++row) {
          const auto f = facts_of(&x[row * columns], columns, 1e-5F);
          mean.push_back(static_cast<float>(f.mean));
          inverse.push_back(static_cast<float>(1 / f.deviation));
        }
        for (std::size_t i = 0; i < x.size(); ++i) {
          normal.push_back((x[i] - mean[i / columns]) * inverse[i / columns]);
          weighted.push_back(gradient[i] * normal[i]);
        }
        std::vector<double> want, allowed;
        for (std::size_t row = 0; row < rows; ++row) {
          double level = 0, slope = 0, largest_w = 0, largest_normal = 0;
          const auto w = [&](std::size_t c) { return static_cast<double>(gradient[row * columns + c]) * weight[c]; };
          const auto exact = [&](std::size_t c) {
            return (static_cast<double>(x[row * columns + c]) - mean[row]) * inverse[row];
          };
          for (std::size_t c = 0; c < columns; ++c) {
            level += w(c) / static_cast<double>(columns);
            slope += w(c) * exact(c) / static_cast<double>(columns);
            largest_w = std::max(largest_w, std::abs(w(c)));
            largest_normal = std::max(largest_normal, std::abs(exact(c)));
          }
          for (std::size_t c = 0; c < columns; ++c) {
            want.push_back(inverse[row] * (w(c) - level - exact(c) * slope));
            allowed.push_back(16 * rounding * inverse[row] * largest_w * (1 + largest_normal));
          }
        }
        const matrix_of<float> in(r.put(x), rows, columns), g(r.put(gradient), rows, columns);
        const matrix_of<float> to(r.blank<float>(x.size()), rows, columns);
        const auto by_weight = r.blank<float>(columns), by_bias = r.blank<float>(columns);
        const auto check = [&](const matrix_of<float>& x_gradient) {
          kernels::layer_norm_gradient(r.s, in, g, r.put(weight), r.put(mean), r.put(inverse), x_gradient, by_weight,
                                       by_bias);
          check_close(
              r.get(x_gradient.values), [&](std::size_t i) { return want[i]; },
              [&](std::size_t i) { return allowed[i]; });
          check_same(r.get(by_weight), sums_of_rows(weighted, rows, columns));
          check_same(r.get(by_bias), sums_of_rows(gradient, rows, columns));
        };
        check(to);
        check(g);
      }
    }
  });
}

TEST_CASE("softmax cross-entropy equals the double-precision one, with either output and in place") {
  on_every_device([](rig& r) {
    for (const std::size_t rows : {0, 1, 33}) {
      for (const std::size_t classes : {1, 2, 10, 37, 5003}) {
        for (const double size : {1.0, 50.0, 1e4, 1e38}) {
          auto logits = r.numbers(rows * classes, size);
          if (rows > 2 && classes > 2) logits[1] = -inf_f, logits[2 * classes] = inf_f, logits[classes] = nan_f;
          const auto labels = r.indices(rows, classes);
          const float scale = 0.25F;
          std::vector<double> want_loss, want;
          for (std::size_t row = 0; row < rows; ++row) {
            const float* at = logits.data() + row * classes;
            double top = -inf_f, sum = 0;
            for (std::size_t c = 0; c < classes; ++c) top = at[c] > top || std::isnan(at[c]) ? at[c] : top;
            for (std::size_t c = 0; c < classes; ++c) sum += std::exp(at[c] - top);
            want_loss.push_back(std::log(sum) - (at[labels[row]] - top));
            for (std::size_t c = 0; c < classes; ++c) {
              want.push_back(scale * (std::exp(at[c] - top) / sum - (c == labels[row] ? 1 : 0)));
            }
          }
          const auto close_loss = [&](const buffer<float>& loss) {
            check_close(
                r.get(loss), [&](std::size_t i) { return want_loss[i]; },
                [&](std::size_t i) { return 8 * rounding * (1 + std::abs(want_loss[i])); });
          };
          const auto close = [&](const buffer<float>& gradient) {
            check_close(
                r.get(gradient), [&](std::size_t i) { return want[i]; },
                [&](std::size_t) { return 8 * rounding * static_cast<double>(scale); });
          };
          const matrix_of<float> in(r.put(logits), rows, classes);
          const auto all_labels = r.put(labels);
          const auto loss = r.blank<float>(rows), gradient = r.blank<float>(rows * classes);
          kernels::softmax_cross_entropy(r.s, in, all_labels, scale, loss, gradient);
          close_loss(loss);
          close(gradient);
          const auto only_loss = r.blank<float>(rows), only_gradient = r.blank<float>(rows * classes);
          kernels::softmax_cross_entropy(r.s, in, all_labels, scale, only_loss, {});
          close_loss(only_loss);
          kernels::softmax_cross_entropy(r.s, in, all_labels, scale, {}, only_gradient);
          close(only_gradient);
          kernels::softmax_cross_entropy(r.s, in, all_labels, scale, loss, in.values);
          close_loss(loss);
          close(in.values);
        }
      }
    }
  });
}

TEST_CASE("a label that there is no class for is a fault that names its row") {
  on_every_device([](rig& r) {
    const matrix_of<float> logits(r.put(r.numbers(12)), 4, 3);
    kernels::softmax_cross_entropy(r.s, logits, r.put(std::vector<std::uint32_t>{0, 2, 3, 1}), 1, r.blank<float>(4),
                                   {});
    const auto said = r.outcome();
    CAPTURE(said);
    CHECK(said.find("softmax_cross_entropy") != std::string::npos);
    CHECK(said.find("row 2") != std::string::npos);
  });
}

TEST_CASE("rows are gathered, and added back in their order to the bit") {
  on_every_device([](rig& r) {
    for (const std::size_t n : {0, 1, 50, 333}) {
      for (const std::size_t columns : {1, 8, 33}) {
        const std::size_t rows = 7;
        const auto values = r.odd_numbers(rows * columns), x = r.numbers(n * columns);
        const auto index = r.indices(n, rows);
        std::vector<float> gathered, summed = values;
        for (std::size_t i = 0; i < n; ++i) {
          for (std::size_t c = 0; c < columns; ++c) {
            gathered.push_back(values[index[i] * columns + c]);
            summed[index[i] * columns + c] += x[i * columns + c];
          }
        }
        const matrix_of<float> table(r.put(values), rows, columns), to(r.blank<float>(n * columns), n, columns);
        const auto which = r.put(index);
        kernels::gather_rows(r.s, table, which, to);
        check_same(r.get(to.values), gathered);
        kernels::scatter_add_rows(r.s, matrix_of<float>(r.put(x), n, columns), which, table);
        check_same(r.get(table.values), summed);
      }
    }
  });
}

TEST_CASE("an index that the table has no row for is a fault that names its row") {
  on_every_device([](rig& first) {
    for (const bool gather : {true, false}) {
      rig r(first.on);
      const matrix_of<float> table(r.put(r.numbers(10)), 5, 2), rows(r.put(r.numbers(6)), 3, 2);
      const auto index = r.put(std::vector<std::uint32_t>{4, 5, 0});
      if (gather)
        kernels::gather_rows(r.s, table, index, rows);
      else
        kernels::scatter_add_rows(r.s, rows, index, table);
      const auto said = r.outcome();
      CAPTURE(said);
      CHECK(said.find("row 1 has the index 5") != std::string::npos);
    }
  });
}

}  // namespace kernel_tests
