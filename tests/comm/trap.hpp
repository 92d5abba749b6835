#pragma once
// Disturbs this process at a chosen place: when it, or the kernel on its behalf, first touches a page of its data. A
// page is protected; its own code runs into the protection, and calls of the kernel that move data (sendmsg, readv,
// process_vm_readv, which this program has definitions of) come as far as the page and then spring the trap. So the
// place is the same byte in every run.
//
// One trap in a process, for one thread. What happens is said first, as a line `RANK struck NANOSECONDS PLACE`.

#include <hydrogen/base/bytes.hpp>

#include <cstdint>
#include <span>
#include <string>

namespace hydrogen::comm::testing {

enum class disturbance {
  none,
  kill,
  stop,  // the whole process, until it is told to go on
  cut,   // all its connections to other processes, though it lives
  cut_and_stop,
  slow  // stopped at several places, for a short time; bytes drip
};
std::string to_string(disturbance);

namespace trap {

/// Whom it stops: the process, or its own thread, which waits for SIGCONT as the process would.
enum class stops { process, thread };

/// Before each use: `report` is the socket for lines, which is never cut.
void prepare(disturbance, stops, std::uint32_t rank, int report);
/// Whole pages. `on_write`: reading them is no touch.
void set(std::span<std::byte* const> pages, bool on_write);
/// No page is protected any more; true if it has sprung.
bool take_away();
/// Disturbs now; `place` is one word.
void spring(const char* place);
/// The same on another thread: inside the call that it makes.
void spring_on(pthread_t thread);

}  // namespace trap
}  // namespace hydrogen::comm::testing
