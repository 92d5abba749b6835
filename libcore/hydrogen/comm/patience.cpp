#include <hydrogen/comm/patience.hpp>

#include <sched.h>

#include <thread>

namespace hydrogen::comm {
namespace {

std::uint32_t usable_cores() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<std::uint32_t>(CPU_COUNT(&set));
  const auto n = std::thread::hardware_concurrency();
  return n == 0 ? 1 : n;
}

}  // namespace

patience patience_for(std::uint32_t ranks) {
  // Asked once: the affinity of the process does not change while it runs.
  static const std::uint32_t cores = usable_cores();
  if (ranks > cores) return {0, 20, 0, 4};
  return {100, 2, 5, 20};
}

}  // namespace hydrogen::comm
