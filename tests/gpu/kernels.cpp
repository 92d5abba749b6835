#include <hydrogen/base/error.hpp>
#include <hydrogen/base/random.hpp>
#include <hydrogen/gpu/kernels.hpp>

#include <doctest/doctest.h>
#include <sched.h>

#include <atomic>
#include <barrier>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace hydrogen;
using namespace hydrogen::gpu;

namespace {

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr double float_step = 0x1.0p-23;

/// Fresh inputs each run; HYDROGEN_SEED repeats one.
std::uint64_t seed() {
  static const std::uint64_t value = [] {
    const char* given = std::getenv("HYDROGEN_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
  }();
  return value;
}

std::vector<float> numbers(std::size_t n, random_source& random, double size = 1) {
  std::vector<float> v(n);
  for (auto& x : v) x = static_cast<float>((random.unit() * 2 - 1) * size);
  return v;
}

/// Every element of `got` is within `roundings` float steps of the magnitudes that were added up for it.
void check_near(double got, double want, double magnitude, double roundings) {
  CHECK(std::abs(got - want) <= roundings * float_step * (magnitude + 1e-30));
}

constexpr std::size_t sizes[] = {0, 1, 2, 3, 7, 16, 17, 33, 64, 65, 129};

}  // namespace

// The first of all, since the library is loaded by the first product.
TEST_CASE("the first product loads its library, which starts no thread and leaves the cores of this one alone") {
  const auto threads = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/task"), std::filesystem::directory_iterator());
  };
  cpu_set_t allowed, allowed_before;
  REQUIRE(sched_getaffinity(0, sizeof allowed_before, &allowed_before) == 0);
  const auto before = threads();
  const std::vector<float> a(1 << 16, 1.0F);
  std::vector<float> c(1 << 16);
  matrix_product(1, {a, 256, 256}, read_as::stored, {a, 256, 256}, read_as::stored, 0, {c, 256, 256});
  CHECK(c.front() == 256.0F);
  CHECK(threads() == before);
  REQUIRE(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
  CHECK(CPU_EQUAL(&allowed, &allowed_before));
}

TEST_CASE("a matrix product equals the double-precision one, in every orientation and for odd sizes, 0 and 1") {
  CAPTURE(seed());
  random_source random(seed());
  for (int round = 0; round < 150; ++round) {
    const auto pick = [&] { return sizes[random.below(std::size(sizes))]; };
    const auto m = pick(), n = pick(), k = pick();
    const auto ta = random.chance(0.5) ? read_as::transposed : read_as::stored;
    const auto tb = random.chance(0.5) ? read_as::transposed : read_as::stored;
    const bool add = random.chance(0.5);
    const float alpha = random.chance(0.5) ? 1.0F : -0.75F, beta = add ? 0.5F : 0.0F;
    CAPTURE(m);
    CAPTURE(n);
    CAPTURE(k);
    const auto a = numbers(m * k, random), b = numbers(k * n, random);
    const auto before = add ? numbers(m * n, random) : std::vector<float>(m * n, not_a_number);
    auto c = before;
    matrix_product(alpha, ta == read_as::stored ? const_matrix(a, m, k) : const_matrix(a, k, m), ta,
                   tb == read_as::stored ? const_matrix(b, k, n) : const_matrix(b, n, k), tb, beta, matrix(c, m, n));
    for (std::size_t i = 0; i < m; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        double sum = 0, magnitude = 0;
        for (std::size_t l = 0; l < k; ++l) {
          const double x = ta == read_as::stored ? a[i * k + l] : a[l * m + i];
          const double y = tb == read_as::stored ? b[l * n + j] : b[j * k + l];
          sum += x * y;
          magnitude += std::abs(x * y);
        }
        sum = alpha * sum + (add ? beta * before[i * n + j] : 0.0);
        magnitude = std::abs(alpha) * magnitude + (add ? std::abs(beta * before[i * n + j]) : 0.0);
        check_near(c[i * n + j], sum, magnitude, 2.0 + static_cast<double>(k));
      }
    }
  }
}

TEST_CASE("threads that multiply at once get the bits of one that multiplies alone") {
  random_source random(5);
  const std::size_t rows = 3000, columns = 64, classes = 10;
  const auto x = numbers(rows * columns, random), g = numbers(rows * classes, random);
  const auto product = [&] {
    std::vector<float> w(columns * classes, not_a_number);
    matrix_product(1, const_matrix(x, rows, columns), read_as::transposed, const_matrix(g, rows, classes),
                   read_as::stored, 0, matrix(w, columns, classes));
    return w;
  };
  const auto alone = product();
  std::atomic<int> different{0};
  {
    std::barrier<> together(4);
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 200; ++i) {
          together.arrive_and_wait();
          if (product() != alone) ++different;
        }
      });
    }
  }
  CHECK(different == 0);
}

TEST_CASE("the same product gives the same bits again") {
  random_source random(3);
  const auto a = numbers(359 * 65, random), b = numbers(65 * 10, random);
  std::vector<float> first(359 * 10), again(359 * 10);
  const auto run = [&](std::vector<float>& c) {
    matrix_product(1, const_matrix(a, 359, 65), read_as::stored, const_matrix(b, 65, 10), read_as::stored, 0,
                   matrix(c, 359, 10));
  };
  run(first);
  for (int i = 0; i < 20; ++i) {
    run(again);
    CHECK(again == first);
  }
}

TEST_CASE("axpy adds a multiple, also onto itself") {
  random_source random(seed());
  for (const auto n : sizes) {
    const auto x = numbers(n, random), before = numbers(n, random);
    auto y = before;
    axpy(0.3F, x, y);
    for (std::size_t i = 0; i < n; ++i) {
      check_near(y[i], 0.3F * double{x[i]} + before[i], std::abs(0.3 * x[i]) + std::abs(before[i]), 2);
    }
    y = before;
    axpy(1.0F, y, y);
    for (std::size_t i = 0; i < n; ++i) CHECK(y[i] == 2 * before[i]);
  }
}

TEST_CASE("a bias goes to every row, and the sum of rows is its gradient") {
  random_source random(seed());
  for (const auto rows : sizes) {
    for (const std::size_t columns : {std::size_t{1}, std::size_t{10}, std::size_t{33}}) {
      const auto before = numbers(rows * columns, random), bias = numbers(columns, random);
      auto v = before;
      add_bias(matrix(v, rows, columns), bias);
      std::vector<float> sums(columns, not_a_number);
      sum_rows(const_matrix(before, rows, columns), sums);
      for (std::size_t c = 0; c < columns; ++c) {
        double sum = 0, magnitude = 0;
        for (std::size_t r = 0; r < rows; ++r) {
          CHECK(v[r * columns + c] == before[r * columns + c] + bias[c]);
          sum += before[r * columns + c];
          magnitude += std::abs(before[r * columns + c]);
        }
        check_near(sums[c], sum, magnitude, static_cast<double>(rows) + 1);
      }
    }
  }
}

TEST_CASE("softmax cross-entropy equals the double-precision one, with logits of any size") {
  CAPTURE(seed());
  random_source random(seed());
  for (const auto rows : sizes) {
    for (const std::size_t classes : {std::size_t{1}, std::size_t{2}, std::size_t{10}, std::size_t{37}}) {
      for (const double size : {1.0, 50.0, 1e4, 1e38}) {
        const auto logits = numbers(rows * classes, random, size);
        std::vector<std::uint32_t> labels(rows);
        for (auto& l : labels) l = static_cast<std::uint32_t>(random.below(classes));
        std::vector<float> gradient(rows * classes, not_a_number);
        const auto loss =
            softmax_cross_entropy(const_matrix(logits, rows, classes), labels, matrix(gradient, rows, classes));
        double want_loss = 0;
        for (std::size_t r = 0; r < rows; ++r) {
          const auto* row = logits.data() + r * classes;
          double top = row[0], sum = 0;
          for (std::size_t c = 0; c < classes; ++c) top = std::max(top, double{row[c]});
          for (std::size_t c = 0; c < classes; ++c) sum += std::exp(row[c] - top);
          want_loss += std::log(sum) - (row[labels[r]] - top);
          for (std::size_t c = 0; c < classes; ++c) {
            const double want = std::exp(row[c] - top) / sum - (c == labels[r] ? 1 : 0);
            // A logit difference of d is rounded to d * step before exp, which multiplies that error by exp(-d).
            check_near(gradient[r * classes + c], want, 1, 16);
          }
        }
        check_near(loss, want_loss, std::abs(want_loss) + static_cast<double>(rows), 16);

        auto in_place = logits;
        const auto loss_in_place =
            softmax_cross_entropy(const_matrix(in_place, rows, classes), labels, matrix(in_place, rows, classes));
        CHECK(loss_in_place == loss);
        CHECK(in_place == gradient);
      }
    }
  }
}

TEST_CASE("the gradient of the loss is what small steps of the logits measure") {
  random_source random(seed());
  CAPTURE(seed());
  const std::size_t rows = 3, classes = 5;
  const auto logits = numbers(rows * classes, random, 2);
  const std::vector<std::uint32_t> labels{4, 0, 2};
  std::vector<float> gradient(logits.size()), ignored(logits.size());
  softmax_cross_entropy(const_matrix(logits, rows, classes), labels, matrix(gradient, rows, classes));
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float h = 1.0F / 64;
    auto up = logits, down = logits;
    up[i] += h, down[i] -= h;
    const auto high = softmax_cross_entropy(const_matrix(up, rows, classes), labels, matrix(ignored, rows, classes));
    const auto low = softmax_cross_entropy(const_matrix(down, rows, classes), labels, matrix(ignored, rows, classes));
    CHECK((high - low) / (2.0 * h) == doctest::Approx(gradient[i]).epsilon(0.002));
  }
}

TEST_CASE("argmax takes the first of equal maxima and never a NaN where there is a number") {
  const std::vector<float> v{
      1, 3, 3, not_a_number, 2, 1, not_a_number, not_a_number, -1, not_a_number, not_a_number, not_a_number};
  std::vector<std::uint32_t> index(4, 99);
  argmax(const_matrix(v, 4, 3), index);
  CHECK(index == std::vector<std::uint32_t>{1, 1, 2, 0});
  argmax(const_matrix({}, 0, 0), {});
}

TEST_CASE("shapes that do not fit are refused with both shapes, before anything is written") {
  std::vector<float> v(6, 1.0F), out(4, 7.0F);
  const auto message = [](auto&& call) -> std::string {
    try {
      call();
    } catch (const failure& f) {
      CHECK(f.reason().code == errc::bad_input);
      return f.what();
    }
    return "no failure";
  };
  CHECK(message([&] { const_matrix(v, 2, 2); }) == "6 values are not a matrix of 2 x 2");
  CHECK(message([&] { const_matrix(v, std::size_t{1} << 63, 2); }).find("6 values") == 0);
  CHECK(message([&] {
          matrix_product(1, const_matrix(v, 2, 3), read_as::stored, const_matrix(v, 2, 3), read_as::stored, 0,
                         matrix(out, 2, 2));
        }) == "matrix product of 2 x 3 and 2 x 3 into 2 x 2");
  CHECK(message([&] { axpy(1, v, out); }).find("4 elements, 6 are needed") != std::string::npos);
  CHECK(message([&] { add_bias(matrix(v, 2, 3), out); }).find("bias") != std::string::npos);
  const std::vector<std::uint32_t> labels{0, 3};
  CHECK(message([&] { softmax_cross_entropy(const_matrix(v, 2, 3), labels, matrix(v, 2, 3)); }) ==
        "row 1 has label 3, there are 3 classes");
  CHECK(message([&] { softmax_cross_entropy(const_matrix(v, 2, 3), labels, matrix(v, 3, 2)); }).find("3 x 2") !=
        std::string::npos);
  CHECK(out == std::vector<float>(4, 7.0F));
  CHECK(v == std::vector<float>(6, 1.0F));
}

TEST_CASE("products of several threads at once have the bits of one alone") {
  constexpr std::size_t rows = 4000, inner = 64, columns = 10;
  std::mt19937_64 random(seed());
  std::normal_distribution<float> normal;
  std::vector<float> a(rows * inner), b(inner * columns);
  for (auto& x : a) x = normal(random);
  for (auto& x : b) x = normal(random);
  const auto product = [&] {
    std::vector<float> c(rows * columns), d(inner * columns);
    matrix_product(1, {a, rows, inner}, read_as::stored, {b, inner, columns}, read_as::stored, 0, {c, rows, columns});
    matrix_product(1, {a, rows, inner}, read_as::transposed, {c, rows, columns}, read_as::stored, 0,
                   {d, inner, columns});
    return d;
  };
  const auto alone = product();
  constexpr int threads = 6, times = 300;
  std::atomic<int> wrong{0};
  // They start each product together: that is when a scratch buffer could be given out twice.
  std::barrier together(threads);
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&] {
      for (int i = 0; i < times; ++i) {
        together.arrive_and_wait();
        if (product() != alone) ++wrong;
      }
    });
  }
  for (auto& thread : all) thread.join();
  INFO("seed ", seed());
  CHECK(wrong == 0);
}
