#include <hydrogen/gpu/kernels/matrix_product.hpp>

#include "kernel_testing.hpp"

namespace kernel_tests {

TEST_CASE("products of device matrices equal the double-precision ones in every orientation, alone and in batches") {
  on_every_device([](rig& r) {
    constexpr std::size_t sizes[] = {0, 1, 2, 7, 16, 33, 65};
    for (int round = 0; round < 60; ++round) {
      const auto pick = [&] { return sizes[r.random.below(std::size(sizes))]; };
      const std::size_t m = pick(), n = pick(), k = pick(), batch = r.random.below(4);
      const bool ta = r.random.chance(0.5), tb = r.random.chance(0.5), add = r.random.chance(0.5);
      const bool one_a = r.random.chance(0.3), one_b = r.random.chance(0.3);
      const float alpha = r.random.chance(0.5) ? 1.0F : -0.75F, beta = add ? 0.5F : 0.0F;
      const auto a = r.numbers((one_a ? 1 : batch) * m * k), b = r.numbers((one_b ? 1 : batch) * k * n);
      const auto before = add ? r.numbers(batch * m * n) : std::vector<float>(batch * m * n, nan_f);
      const auto c = r.put(before);
      kernels::matrix_products(r.s, {batch, m, n, k, ta, tb, alpha, beta}, r.put(a), r.put(b), c);
      std::vector<double> want, magnitude;
      for (std::size_t i = 0; i < batch * m * n; ++i) {
        const std::size_t which = i / (m * n), row = i / n % m, column = i % n;
        const float* x = a.data() + (one_a ? 0 : which * m * k);
        const float* y = b.data() + (one_b ? 0 : which * k * n);
        double sum = 0, size = 0;
        for (std::size_t l = 0; l < k; ++l) {
          const double product = static_cast<double>(ta ? x[l * m + row] : x[row * k + l]) *
                                 static_cast<double>(tb ? y[column * k + l] : y[l * n + column]);
          sum += product;
          size += std::abs(product);
        }
        want.push_back(alpha * sum + (add ? beta * before[i] : 0.0));
        magnitude.push_back(std::abs(alpha) * size + (add ? std::abs(beta * before[i]) : 0.0));
      }
      const auto close = [&](const std::vector<float>& got) {
        check_close(
            got, [&](std::size_t i) { return want[i]; },
            [&](std::size_t i) { return (2.0 * static_cast<double>(k) + 2) * rounding * magnitude[i]; });
      };
      close(r.get(c));
      if (batch != 1) continue;
      const auto alone = r.put(before);
      const matrix_of<float> left(r.put(a), ta ? k : m, ta ? m : k), right(r.put(b), tb ? n : k, tb ? k : n);
      kernels::matrix_product(r.s, alpha, {left, ta}, {right, tb}, beta, matrix_of<float>(alone, m, n));
      close(r.get(alone));
    }
  });
}

}  // namespace kernel_tests
