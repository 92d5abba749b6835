#pragma once
// What tests of kernels share: memory on a device that is not aligned and filled with a pattern, random numbers of a
// seed that is printed, and comparisons that say which element is wrong.

#include <hydrogen/base/random.hpp>
#include <hydrogen/gpu/stream.hpp>

#include <doctest/doctest.h>
#include <test_devices.hpp>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace kernel_tests {

using namespace hydrogen;
using namespace hydrogen::gpu;

inline constexpr float nan_f = std::numeric_limits<float>::quiet_NaN();
inline constexpr float inf_f = std::numeric_limits<float>::infinity();
inline constexpr double rounding = 0x1p-23;  // of a float, relative
inline constexpr std::size_t some_sizes[] = {0, 1, 2, 3, 7, 8, 9, 31, 64, 257, 1023, 4099};
inline constexpr std::size_t beyond_cache = (std::size_t{8} << 20) / sizeof(float) + 4103;  // floats

/// Fresh inputs each run; HYDROGEN_SEED repeats one.
inline std::uint64_t fresh_seed() {
  static const std::uint64_t value = [] {
    const char* given = std::getenv("HYDROGEN_SEED");
    const auto chosen = given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
    MESSAGE("HYDROGEN_SEED=" << chosen);
    return chosen;
  }();
  return value;
}

/// One device, and random numbers.
struct rig {
  explicit rig(const std::shared_ptr<device>& d)
      : on(d), s(value_or_throw(d->make_stream("test"))), random(fresh_seed()) {}

  /// In memory that is aligned to one element only.
  template <class T>
  buffer<T> put(const std::vector<T>& values) {
    auto b = s.allocate<T>(values.size() + 1).part(1, values.size());
    s.upload(std::span<const T>(values), b);
    return b;
  }
  /// Bytes that no result has, to be written over.
  template <class T>
  buffer<T> blank(std::size_t n) {
    std::vector<T> values(n);
    if (n != 0) std::memset(static_cast<void*>(values.data()), 0xA5, n * sizeof(T));
    return put(values);
  }
  template <class T>
  std::vector<std::remove_const_t<T>> get(const buffer<T>& b) {
    std::vector<std::remove_const_t<T>> values(b.size());
    value_or_throw(s.download(b, std::span(values), now() + std::chrono::seconds(60)));
    return values;
  }
  /// What the stream says after all that was enqueued.
  std::string outcome() {
    const auto done = s.finish(now() + std::chrono::seconds(60));
    return done ? "done" : done.error().what;
  }

  std::vector<float> numbers(std::size_t n, double size = 1) {
    std::vector<float> v(n);
    for (auto& x : v) x = static_cast<float>((random.unit() * 2 - 1) * size);
    return v;
  }
  /// With zeros of both signs, infinities and NaNs among them.
  std::vector<float> odd_numbers(std::size_t n, double size = 1) {
    auto v = numbers(n, size);
    constexpr float odd[] = {0.0F, -0.0F, inf_f, -inf_f, nan_f, 1e-40F, 3e38F};
    for (auto& x : v) {
      if (random.chance(0.1)) x = odd[random.below(std::size(odd))];
    }
    return v;
  }
  std::vector<std::uint32_t> indices(std::size_t n, std::size_t below) {
    std::vector<std::uint32_t> v(n);
    for (auto& x : v) x = static_cast<std::uint32_t>(random.below(below));
    return v;
  }

  std::shared_ptr<device> on;
  stream s;
  random_source random;
};

template <class Body>
void on_every_device(Body&& body) {
  for (const auto& d : test_devices()) {
    const auto seed = fresh_seed();  // captures are looked at late, when it could be under way
    CAPTURE(d->description());
    CAPTURE(seed);
    rig r(d);
    body(r);
  }
}

template <class T>
bool is_nan(T x) {
  if constexpr (std::is_integral_v<T>)
    return false;
  else
    return std::isnan(static_cast<double>(static_cast<float>(x)));
}

/// The same bits, or both NaN.
template <class T>
void check_same(const std::vector<T>& got, const std::vector<T>& want) {
  REQUIRE(got.size() == want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::memcmp(&got[i], &want[i], sizeof(T)) == 0 || (is_nan(got[i]) && is_nan(want[i]))) continue;
    const auto shown = [](T x) { return static_cast<double>(static_cast<float>(x)); };
    FAIL_CHECK("element " << i << " of " << got.size() << " is " << shown(got[i]) << ", not " << shown(want[i]));
    return;
  }
  CHECK(true);
}

/// Each within allowed(i), or both NaN or the same infinity.
template <class Want, class Allowed>
void check_close(const std::vector<float>& got, Want&& want, Allowed&& allowed) {
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double w = want(i);
    if (std::isnan(got[i]) ? std::isnan(w) : static_cast<double>(got[i]) == w) continue;
    const double off = std::abs(static_cast<double>(got[i]) - w), most = allowed(i);
    if (off <= most) continue;
    FAIL_CHECK("element " << i << " of " << got.size() << " is " << got[i] << ", not " << w << ": off by " << off
                          << ", allowed " << most);
    return;
  }
  CHECK(true);
}

/// pairwise() of work.hpp, written down as it stands there.
template <class T>
T pairwise_sum(std::vector<T> x) {
  if (x.empty()) return T{0};
  do {
    std::vector<T> sums;
    for (std::size_t first = 0; first < x.size(); first += 8192) {
      std::vector<T> lanes(256, T{-0.0F});
      for (std::size_t i = first; i < std::min(x.size(), first + 8192); ++i) lanes[(i - first) % 256] += x[i];
      for (std::size_t half = 128; half > 0; half /= 2) {
        for (std::size_t l = 0; l < half; ++l) lanes[l] += lanes[l + half];
      }
      sums.push_back(lanes[0]);
    }
    x = sums;
  } while (x.size() > 1);
  return x[0];
}

/// sum_rows() of work.hpp.
inline std::vector<float> sums_of_rows(const std::vector<float>& x, std::size_t rows, std::size_t columns) {
  std::vector<float> sums(columns, 0.0F);
  for (std::size_t c = 0; c < columns; ++c) {
    for (std::size_t first = 0; first < rows; first += 128) {
      float piece = 0;
      for (std::size_t r = first; r < std::min(rows, first + 128); ++r) piece += x[r * columns + c];
      sums[c] += piece;
    }
  }
  return sums;
}

/// What a refused call says; "nothing" if it was not refused.
template <class Call>
std::string refusal(Call&& call) {
  try {
    call();
  } catch (const failure& f) {
    CHECK(f.reason().code == errc::bad_input);
    return f.reason().what;
  }
  return "nothing";
}

}  // namespace kernel_tests
