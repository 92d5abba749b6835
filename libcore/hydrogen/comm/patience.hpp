#pragma once
// How long a rank looks before it sleeps. When ranks outnumber cores, the awaited rank may need this core: give it away
// a few times, then sleep. Otherwise spin for a few microseconds, since a sleep and a wake-up cost more than that.

#include <cstdint>

namespace hydrogen::comm {

struct patience {
  // In shared memory.
  std::uint32_t spins = 0;   // looks with a pause between them
  std::uint32_t yields = 0;  // then looks with sched_yield between them
  // At sockets, where a look is a system call, and a sleep and its wake-up take tens of microseconds.
  std::uint32_t socket_looks = 0;
  std::uint32_t socket_yields = 0;
};

/// For a rank that shares this machine's cores with `ranks` ranks, itself included.
patience patience_for(std::uint32_t ranks);

/// A short pause inside a spin.
inline void spin_pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace hydrogen::comm
