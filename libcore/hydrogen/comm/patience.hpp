#pragma once
// How long a rank looks before it sleeps. When ranks outnumber cores, the awaited rank may need this core: give it away
// a few times, then sleep. Otherwise spin for a few microseconds, since a sleep and a wake-up cost more than that.

#include <sched.h>

#include <cstdint>
#include <span>

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

/// For a thread that has looked in vain for another rank, which last ran on the same CPU (`mine`): moves to a
/// CPU that none of the ranks was on, if there is one. Two ranks that wait for each other by turns on one CPU would
/// stay there: the kernel never sees more than one of them that could run, and balances only what waits for a CPU. At
/// most every half millisecond, and less often the longer it goes on. Returns the CPU that it is on then; its affinity
/// is as before.
std::uint32_t move_apart(std::uint32_t mine, std::span<const std::uint32_t> cpus_of_ranks);

/// While it lives the calling thread wakes up on the CPU that it is on now, if `here`; then its affinity is as before.
/// The kernel likes to wake a thread where its waker runs, and two ranks that wake each other would meet on one CPU.
class wakes_here {
 public:
  explicit wakes_here(bool here);
  ~wakes_here();
  wakes_here(const wakes_here&) = delete;

 private:
  bool is_set_ = false;
  cpu_set_t before_;
};

/// A short pause inside a spin.
inline void spin_pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace hydrogen::comm
