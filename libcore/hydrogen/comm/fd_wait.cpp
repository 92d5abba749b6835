#include <hydrogen/comm/fd_wait.hpp>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace hydrogen::comm {

event_fd::event_fd() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void event_fd::set() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = write(fd_.get(), &one, sizeof one);
}

void event_fd::clear() const {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto n = read(fd_.get(), &count, sizeof count);
}

poll_timeout::poll_timeout(time_point deadline) : endless_(deadline == never) {
  if (endless_) return;
  const auto left = (deadline - now()).count();
  if (left > 0) at_ = {left / 1'000'000'000, left % 1'000'000'000};
}

fd_waiter::fd_waiter(abort_word* abort) : abort_(abort) {
  if (abort_ == nullptr) return;
  wake_ = std::make_unique<event_fd>();
  registration_ = abort_->on_abort([w = wake_.get()] { w->set(); });
}

expected<short> fd_waiter::wait(int fd, short events, time_point deadline) {
  if (wake_ && !*wake_)
    return fail(errc::io, "no file descriptor is left to wait with", {}, "raise the limit: ulimit -n");
  for (;;) {
    if (abort_ != nullptr && abort_->is_set()) return unexpected(abort_->reason());
    pollfd set[2] = {{fd, events, 0}, {wake_ ? wake_->get() : -1, POLLIN, 0}};
    const poll_timeout left(deadline);
    const int n = ppoll(set, wake_ ? 2 : 1, left.get(), nullptr);
    if (n < 0 && errno != EINTR) return fail_errno("poll");
    if (n > 0 && set[0].revents != 0) return set[0].revents;
    if (n == 0 && now() >= deadline) return short{0};
  }
}

}  // namespace hydrogen::comm
