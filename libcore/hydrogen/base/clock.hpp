#pragma once
// Time. Machines never read a clock: they are given `now`. Monotonic, so a jump of the wall clock changes nothing.

#include <chrono>

namespace hydrogen {

using duration = std::chrono::nanoseconds;
using time_point = std::chrono::time_point<std::chrono::steady_clock, duration>;

inline time_point now() {
  return std::chrono::steady_clock::now();
}

/// No deadline.
inline constexpr time_point never = time_point::max();

using namespace std::chrono_literals;

}  // namespace hydrogen
