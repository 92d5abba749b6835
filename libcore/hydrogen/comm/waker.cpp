#include <hydrogen/comm/waker.hpp>

#include <sys/eventfd.h>

namespace hydrogen::comm {

expected<std::shared_ptr<waker>> waker::make() {
  unique_fd fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!fd) return fail_errno("eventfd", "gang link");
  return std::make_shared<waker>(std::move(fd));
}

void waker::wake() noexcept {
  if (!sleeping_.load(std::memory_order_seq_cst)) return;
  const std::uint64_t one = 1;
  // A full counter wakes as well.
  [[maybe_unused]] const auto n = ::write(fd_.get(), &one, sizeof one);
}

void waker::awake() noexcept {
  sleeping_.store(false, std::memory_order_seq_cst);
  std::uint64_t count = 0;
  [[maybe_unused]] const auto n = ::read(fd_.get(), &count, sizeof count);
}

}  // namespace hydrogen::comm
