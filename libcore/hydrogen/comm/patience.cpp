#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/cpus.hpp>
#include <hydrogen/comm/patience.hpp>

#include <sched.h>

#include <algorithm>

namespace hydrogen::comm {
patience patience_for(std::uint32_t ranks) {
  // Asked once: the affinity of the process does not change while it runs.
  static const std::uint32_t cores = usable_cpus();
  if (ranks > cores) return {0, 20, 0, 4};
  return {100, 2, 5, 20};
}

std::uint32_t move_apart(std::uint32_t mine, std::span<const std::uint32_t> cpus_of_ranks) {
  static thread_local time_point next{};
  static thread_local duration pause = 500us;
  const auto at = now();
  if (at < next) return mine;
  cpu_set_t all;
  if (::sched_getaffinity(0, sizeof all, &all) != 0) return mine;
  for (std::uint32_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &all) || std::find(cpus_of_ranks.begin(), cpus_of_ranks.end(), cpu) != cpus_of_ranks.end()) {
      continue;
    }
    // A rank that has long been left alone begins anew.
    pause = at - next > 100ms ? duration(500us) : std::min<duration>(2 * pause, 4ms);
    next = at + pause;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (::sched_setaffinity(0, sizeof one, &one) != 0) return mine;
    ::sched_setaffinity(0, sizeof all, &all);
    return cpu;
  }
  return mine;
}

wakes_here::wakes_here(bool here) {
  const int cpu = ::sched_getcpu();
  if (!here || cpu < 0 || ::sched_getaffinity(0, sizeof before_, &before_) != 0) return;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(cpu), &one);
  is_set_ = ::sched_setaffinity(0, sizeof one, &one) == 0;
}

wakes_here::~wakes_here() {
  if (is_set_) ::sched_setaffinity(0, sizeof before_, &before_);
}

}  // namespace hydrogen::comm
