#include <hydrogen/gpu/kernels/clustering.hpp>

#include "kernel_testing.hpp"

namespace kernel_tests {

TEST_CASE("each point goes to the first of its nearest centres, to the bit") {
  on_every_device([](rig& r) {
    for (const std::size_t n : {0, 1, 200}) {
      for (const std::size_t dimensions : {1, 2, 17}) {
        for (const std::size_t k : {1, 2, 31, 64, 65, 300}) {
          auto points = r.numbers(n * dimensions, 2), centres = r.numbers(k * dimensions, 2);
          // On a grid many distances are equal; and some are no numbers.
          for (auto& x : points) x = std::round(x);
          for (auto& x : centres) x = std::round(x);
          if (n > 2) points[0] = nan_f, points[dimensions] = inf_f;
          if (k > 2) centres[0] = nan_f, centres[2 * dimensions] = inf_f;
          std::vector<std::uint32_t> want;
          std::vector<float> want_distance;
          for (std::size_t p = 0; p < n; ++p) {
            std::size_t best = 0;
            float least = 0;
            for (std::size_t c = 0; c < k; ++c) {
              float sum = 0;
              for (std::size_t i = 0; i < dimensions; ++i) {
                const float off = points[p * dimensions + i] - centres[c * dimensions + i];
                const float square = off * off;
                sum += square;
              }
              if (c == 0 || sum < least || (std::isnan(least) && !std::isnan(sum))) {
                best = c;
                least = sum;
              }
            }
            want.push_back(static_cast<std::uint32_t>(best));
            want_distance.push_back(least);
          }
          const matrix_of<float> all(r.put(points), n, dimensions), middle(r.put(centres), k, dimensions);
          const auto index = r.blank<std::uint32_t>(n);
          const auto distance = r.blank<float>(n);
          kernels::kmeans_assign(r.s, all, middle, index, distance);
          check_same(r.get(index), want);
          check_same(r.get(distance), want_distance);
          const auto again = r.blank<std::uint32_t>(n);
          kernels::kmeans_assign(r.s, all, middle, again, {});
          check_same(r.get(again), want);
        }
      }
    }
  });
}

TEST_CASE("the points of each centre are summed in pieces of 1,024, to the bit, and counted") {
  on_every_device([](rig& r) {
    for (const std::size_t n : {0, 1, 1023, 1025, 5000}) {
      for (const std::size_t dimensions : {1, 9}) {
        const std::size_t k = 3;
        const auto points = r.numbers(n * dimensions);
        const auto index = r.indices(n, k);
        std::vector<float> want(k * dimensions, 0.0F);
        std::vector<std::uint32_t> want_counts(k, 0);
        for (std::size_t first = 0; first < n; first += 1024) {
          std::vector<float> piece(k * dimensions, 0.0F);
          for (std::size_t p = first; p < std::min(n, first + 1024); ++p) {
            ++want_counts[index[p]];
            for (std::size_t i = 0; i < dimensions; ++i) {
              piece[index[p] * dimensions + i] += points[p * dimensions + i];
            }
          }
          for (std::size_t i = 0; i < want.size(); ++i) want[i] += piece[i];
        }
        const matrix_of<float> sums(r.blank<float>(k * dimensions), k, dimensions);
        const auto counts = r.blank<std::uint32_t>(k);
        kernels::kmeans_accumulate(r.s, matrix_of<float>(r.put(points), n, dimensions), r.put(index), sums, counts);
        check_same(r.get(sums.values), want);
        check_same(r.get(counts), want_counts);
      }
    }
  });
}

TEST_CASE("a histogram sums rounded integers, of all rows or of those listed") {
  on_every_device([](rig& r) {
    for (const std::size_t rows : {0, 1, 700}) {
      for (const std::size_t features : {1, 5}) {
        for (const std::size_t bin_count : {1, 16, 256}) {
          const float scale = 8;
          auto gradient = r.numbers(rows, 100), hessian = r.numbers(rows, 1e6);
          for (auto& x : gradient) x = std::round(x * 16) / 16;  // many are halfway between two integers
          std::vector<std::uint8_t> bins;
          for (std::size_t i = 0; i < rows * features; ++i) {
            bins.push_back(static_cast<std::uint8_t>(r.random.below(bin_count)));
          }
          const auto count = [&](const std::vector<std::uint32_t>& used) {
            std::vector<std::int64_t> sums(features * bin_count * 3, 0);
            for (const auto row : used) {
              for (std::size_t f = 0; f < features; ++f) {
                auto* to = &sums[(f * bin_count + bins[row * features + f]) * 3];
                const float g = scale * gradient[row], h = scale * hessian[row];
                to[0] += static_cast<std::int64_t>(std::nearbyint(g));
                to[1] += static_cast<std::int64_t>(std::nearbyint(h));
                ++to[2];
              }
            }
            return sums;
          };
          std::vector<std::uint32_t> all(rows);
          for (std::size_t i = 0; i < rows; ++i) all[i] = static_cast<std::uint32_t>(i);
          const auto some = r.indices(rows / 3, std::max<std::size_t>(rows, 1));
          const auto b = r.put(bins);
          const auto g = r.put(gradient), h = r.put(hessian);
          const auto sums = r.blank<std::int64_t>(features * bin_count * 3);
          kernels::histogram(r.s, b, rows, features, g, h, nullptr, scale, bin_count, sums);
          check_same(r.get(sums), count(all));
          const buffer<const std::uint32_t> listed = r.put(some);
          kernels::histogram(r.s, b, rows, features, g, h, &listed, scale, bin_count, sums);
          check_same(r.get(sums), count(some));
        }
      }
    }
  });
}

TEST_CASE("an index, a bin and a listed row that are not there are faults that name their row") {
  on_every_device([](rig& first) {
    const auto said = [&](auto&& enqueue) {
      rig r(first.on);
      enqueue(r);
      return r.outcome();
    };
    CHECK(said([](rig& r) {
            const matrix_of<float> points(r.put(r.numbers(6)), 3, 2), sums(r.blank<float>(4), 2, 2);
            kernels::kmeans_accumulate(r.s, points, r.put(std::vector<std::uint32_t>{0, 1, 2}), sums,
                                       r.blank<std::uint32_t>(2));
          }).find("row 2 has the index 2") != std::string::npos);
    const auto histogram = [](rig& r, std::vector<std::uint8_t> bins, const buffer<const std::uint32_t>* used) {
      kernels::histogram(r.s, r.put(bins), 2, 2, r.put(r.numbers(2)), r.put(r.numbers(2)), used, 1, 3,
                         r.blank<std::int64_t>(18));
    };
    CHECK(said([&](rig& r) { histogram(r, {0, 1, 2, 3}, nullptr); }).find("row 1 has the bin 3") != std::string::npos);
    CHECK(said([&](rig& r) {
            const buffer<const std::uint32_t> used = r.put(std::vector<std::uint32_t>{1, 2});
            histogram(r, {0, 1, 2, 2}, &used);
          }).find("row 2 is listed") != std::string::npos);
  });
}

}  // namespace kernel_tests
