#include <hydrogen/actors/signals.hpp>
#include <hydrogen/base/error.hpp>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include <csignal>
#include <cstdint>

namespace hydrogen::actors {

signal_watch::signal_watch(std::function<void(int)> on_signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signals_ = unique_fd(signalfd(-1, &set, SFD_CLOEXEC));
  stop_ = unique_fd(eventfd(0, EFD_CLOEXEC));
  invariant(signals_ && stop_, "no descriptor is left at the start of the process");
  thread_ = std::thread([this, on_signal = std::move(on_signal)] {
    for (int count = 0;;) {
      pollfd fds[] = {{signals_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
      if (poll(fds, 2, -1) < 0) continue;
      if (fds[1].revents != 0) return;
      signalfd_siginfo info;
      if (read(signals_.get(), &info, sizeof info) == sizeof info) on_signal(++count);
    }
  });
}

signal_watch::~signal_watch() {
  const std::uint64_t one = 1;
  if (write(stop_.get(), &one, sizeof one) == sizeof one)
    thread_.join();
  else
    thread_.detach();
}

}  // namespace hydrogen::actors
