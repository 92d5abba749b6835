#include <hydrogen/actors/signals.hpp>
#include <hydrogen/base/error.hpp>

#include <poll.h>
#include <sys/eventfd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>

namespace hydrogen::actors {
namespace {

// A handler has no argument of ours; it only writes to this descriptor.
std::atomic<int> arrived_fd{-1};

void on_arrival(int) {
  const int before = errno;
  const std::uint64_t one = 1;
  if (write(arrived_fd.load(), &one, sizeof one) < 0) {
    // Full or closed: there is nobody to tell.
  }
  errno = before;
}

void set_handlers(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  for (const int number : {SIGINT, SIGTERM}) sigaction(number, &action, nullptr);
}

}  // namespace

signal_watch::signal_watch(std::function<void(int)> on_signal) {
  arrived_ = unique_fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  stop_ = unique_fd(eventfd(0, EFD_CLOEXEC));
  invariant(arrived_ && stop_, "no descriptor is left at the start of the process");
  arrived_fd.store(arrived_.get());
  set_handlers(on_arrival);
  thread_ = std::thread([this, on_signal = std::move(on_signal)] {
    for (int count = 0;;) {
      pollfd fds[] = {{arrived_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
      if (poll(fds, 2, -1) < 0) continue;
      if (fds[1].revents != 0) return;
      std::uint64_t more = 0;
      if (read(arrived_.get(), &more, sizeof more) != sizeof more) continue;
      for (; more > 0; --more) on_signal(++count);
    }
  });
}

signal_watch::~signal_watch() {
  set_handlers(SIG_DFL);
  arrived_fd.store(-1);
  const std::uint64_t one = 1;
  if (write(stop_.get(), &one, sizeof one) == sizeof one)
    thread_.join();
  else
    thread_.detach();
}

}  // namespace hydrogen::actors
