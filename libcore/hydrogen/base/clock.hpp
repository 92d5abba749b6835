#pragma once
// Time. Machines never read a clock: they are given `now`. Monotonic, so a jump of the wall clock changes nothing.

#include <time.h>

#include <chrono>

namespace hydrogen {

using duration = std::chrono::nanoseconds;
using time_point = std::chrono::time_point<std::chrono::steady_clock, duration>;

inline time_point now() {
  return std::chrono::steady_clock::now();
}

/// The same clock as the kernel last wrote it down, some milliseconds ago: cheap enough for every step of every call.
inline time_point coarse_now() {
  timespec at{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &at);
  return time_point(std::chrono::seconds(at.tv_sec) + std::chrono::nanoseconds(at.tv_nsec));
}

/// No deadline.
inline constexpr time_point never = time_point::max();

using namespace std::chrono_literals;

}  // namespace hydrogen
