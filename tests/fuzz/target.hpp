#pragma once
// What every fuzz target is made with. A target is one file with LLVMFuzzerTestOneInput, driven by libFuzzer in a build
// with clang, else by standalone.cpp.

#include <hydrogen/base/bytes.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <type_traits>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace hydrogen::fuzz {

/// While it lives, memory that is taken with `new` on any thread, less what is given back, stays below `bytes`; the
/// process aborts where it does not.
class allocation_limit {
 public:
  explicit allocation_limit(std::size_t bytes);
  ~allocation_limit();
  allocation_limit(const allocation_limit&) = delete;
};

/// A finding when it does not hold.
inline void must(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "finding: %s\n", what);
  std::abort();
}

/// Takes an input apart, from its front. Beyond its end there are zeros.
class reader {
 public:
  explicit reader(byte_view in) : in_(in) {}
  reader(const std::uint8_t* data, std::size_t size) : in_(reinterpret_cast<const std::byte*>(data), size) {}

  bool empty() const { return in_.empty(); }
  template <class T>
  requires std::is_integral_v<T> T number() {
    T x{};
    const auto bytes = take(sizeof x);
    if (!bytes.empty()) std::memcpy(&x, bytes.data(), bytes.size());
    return x;
  }
  byte_view take(std::size_t size) {
    const auto front = in_.first(std::min(size, in_.size()));
    in_ = in_.subspan(front.size());
    return front;
  }
  byte_view rest() { return take(in_.size()); }

 private:
  byte_view in_;
};

/// In which portions a stream of bytes arrives: the input gives the seed.
class portions {
 public:
  explicit portions(std::uint8_t seed) : state_(seed) {}
  /// Of the next one: all there is for seed 0, else from one byte up, often the sizes at which readers change over.
  std::size_t next() {
    if (state_ == 0) return SIZE_MAX;
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    constexpr std::size_t sizes[] = {1, 2, 5, 8, 16, 24, 36, 44, 119, 120, 121, 1000, 4096, 8192, 65536, 100'000};
    return sizes[state_ >> 60];
  }

 private:
  std::uint64_t state_;
};

}  // namespace hydrogen::fuzz
