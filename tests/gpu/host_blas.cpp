// The library behind products on the host: how it is loaded, and what its calls share.

#include <hydrogen/gpu/host/run.hpp>

#include <doctest/doctest.h>
#include <sched.h>

#include <atomic>
#include <barrier>
#include <filesystem>
#include <random>
#include <thread>
#include <vector>

using namespace hydrogen;
using namespace hydrogen::gpu;

namespace {

/// a (m x k), transposed or not, times b (k x n).
std::vector<float> product_of(std::size_t m, std::size_t n, std::size_t k, bool transposed, const std::vector<float>& a,
                              const std::vector<float>& b) {
  std::vector<float> c(m * n);
  host::run_context context;
  host::run(work::matrix_product{1, a.data(), transposed, b.data(), false, 0, c.data(), m, n, k, 1, 0, 0, 0}, context);
  return c;
}

std::vector<float> normal_numbers(std::size_t n, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> v(n);
  for (auto& x : v) x = normal(random);
  return v;
}

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
  const auto c = product_of(256, 256, 256, false, a, a);
  CHECK(c.front() == 256.0F);
  CHECK(threads() == before);
  REQUIRE(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
  CHECK(CPU_EQUAL(&allowed, &allowed_before));
}

TEST_CASE("the same product gives the same bits again, alone and from several threads at once") {
  constexpr std::size_t rows = 4000, inner = 64, columns = 10;
  const auto a = normal_numbers(rows * inner, 1), b = normal_numbers(inner * columns, 2);
  const auto both = [&] {
    const auto c = product_of(rows, columns, inner, false, a, b);
    return product_of(inner, columns, rows, true, a, c);
  };
  const auto alone = both();
  CHECK(both() == alone);
  constexpr int threads = 6, times = 300;
  std::atomic<int> wrong{0};
  // They start each product together: that is when a scratch buffer could be given out twice.
  std::barrier together(threads);
  std::vector<std::jthread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&] {
      for (int i = 0; i < times; ++i) {
        together.arrive_and_wait();
        if (both() != alone) ++wrong;
      }
    });
  }
  all.clear();
  CHECK(wrong == 0);
}
