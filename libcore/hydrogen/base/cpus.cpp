#include <hydrogen/base/cpus.hpp>

#include <sched.h>

#include <algorithm>
#include <thread>

namespace hydrogen {

std::uint32_t usable_cpus() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<std::uint32_t>(CPU_COUNT(&set));
  return std::max(std::thread::hardware_concurrency(), 1u);  // there are more than 1024
}

}  // namespace hydrogen
