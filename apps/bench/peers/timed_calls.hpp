#pragma once
// What every rank does that is measured, ours and those of peers alike: it hears a line, makes the calls, and rank 0
// answers with their times. So all of them touch their buffers in the same way and are timed in the same way. Standard
// library only: programs that know nothing of Hydrogen include this.
//
//     in:   OPERATION BYTES WARM_UP ITERATIONS IDLE_US      "all_reduce 65536 500 200 0"
//     out:  times T T T ...                                 microseconds of each call; of "wait": percent of a core
//           failed WHY

#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <new>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace hydrogen::bench {

struct timed_call {
  std::string operation;
  std::size_t bytes = 0;
  int warm_up = 1;  // calls that are not timed, but looked at whether they are right
  int iterations = 1;
  int idle_us = 0;  // each rank sleeps so long before each call
};

inline std::string to_line(const timed_call& c) {
  return c.operation + " " + std::to_string(c.bytes) + " " + std::to_string(c.warm_up) + " " +
         std::to_string(c.iterations) + " " + std::to_string(c.idle_us);
}

inline timed_call timed_call_of(const std::string& line) {
  timed_call c;
  std::istringstream in(line);
  if (!(in >> c.operation >> c.bytes >> c.warm_up >> c.iterations >> c.idle_us))
    throw std::runtime_error("a line not understood");
  return c;
}

/// One operation, as one rank takes part in it.
struct rank_work {
  std::function<void()> prepare;   // before each call, not timed: the rank writes what it contributes
  std::function<void()> call;      // timed
  std::function<bool()> is_right;  // looks at the result of a call
};

/// From this size on ranks start each call together, after a barrier, since writing a large contribution takes them
/// different times. Below, call follows call: waiting for each other is then most of what a call is.
constexpr std::size_t starts_together_from = 64 << 10;

/// A sleeping rank is then late by microseconds and not by the fifty that the kernel may add otherwise.
inline void sleep_precisely() {
  ::prctl(PR_SET_TIMERSLACK, 1000);
}

inline std::vector<double> time_calls(const timed_call& c, const rank_work& work,
                                      const std::function<void()>& barrier) {
  using clock = std::chrono::steady_clock;
  std::vector<double> times;
  for (int i = -c.warm_up; i < c.iterations; ++i) {
    work.prepare();
    if (c.idle_us > 0) std::this_thread::sleep_for(std::chrono::microseconds(c.idle_us));
    if (c.bytes >= starts_together_from) barrier();
    const auto begin = clock::now();
    work.call();
    const auto end = clock::now();
    if (i >= 0) {
      times.push_back(std::chrono::duration<double, std::micro>(end - begin).count());
    } else if (!work.is_right()) {
      throw std::runtime_error("a wrong result");
    }
  }
  return times;
}

/// The time on a core, in percent, that rank 0 needs to wait in a barrier for the last rank, which idles first.
/// `whose`: RUSAGE_SELF, or RUSAGE_THREAD where ranks share a process.
inline std::vector<double> waiting_percent(const timed_call& c, std::uint32_t rank, std::uint32_t ranks, int whose,
                                           const std::function<void()>& barrier) {
  const auto used = [&] {
    rusage u{};
    ::getrusage(whose, &u);
    return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
           static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
  };
  std::vector<double> percents;
  for (int i = 0; i < c.iterations; ++i) {
    barrier();
    const auto begin = std::chrono::steady_clock::now();
    const auto before = used();
    if (rank + 1 == ranks) std::this_thread::sleep_for(std::chrono::microseconds(c.idle_us));
    barrier();
    const std::chrono::duration<double, std::micro> waited = std::chrono::steady_clock::now() - begin;
    // Never nothing, so that ratios are finite.
    percents.push_back(std::max(100 * (used() - before) / waited.count(), 0.001));
  }
  return percents;
}

/// Buffers begin at a page in all programs, whatever their allocators do: the kernel and memcpy take up to twice as
/// long for others.
template <class T>
struct page_allocator {
  using value_type = T;
  static constexpr std::align_val_t page{4096};
  page_allocator() = default;
  template <class U>
  page_allocator(const page_allocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), page)); }
  void deallocate(T* p, std::size_t) { ::operator delete(p, page); }
  bool operator==(const page_allocator&) const = default;
};
template <class T>
using page_vector = std::vector<T, page_allocator<T>>;

/// Contributions whose sum is known.
inline void fill_summands(std::span<float> x, std::uint32_t rank) {
  std::fill(x.begin(), x.end(), static_cast<float>(rank + 1));
}
inline bool is_sum(std::span<const float> x, std::uint32_t ranks) {
  const auto sum = static_cast<float>(ranks * (ranks + 1) / 2);
  return std::all_of(x.begin(), x.end(), [&](float v) { return v == sum; });
}

/// The answer to `line`: what `run` measures, or why it failed.
inline std::string answer_to(const std::string& line,
                             const std::function<std::vector<double>(const timed_call&)>& run) {
  try {
    std::string answer = "times";
    for (const double t : run(timed_call_of(line))) {
      char text[32];
      std::snprintf(text, sizeof text, " %.3f", t);
      answer += text;
    }
    return answer;
  } catch (const std::exception& e) {
    std::string why = e.what();
    std::replace(why.begin(), why.end(), '\n', ' ');
    return "failed " + why;
  }
}

inline void say_line(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

}  // namespace hydrogen::bench
