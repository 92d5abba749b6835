#include <hydrogen/comm/call.hpp>
#include <hydrogen/comm/start_gate.hpp>

namespace hydrogen::comm {
namespace {

constexpr std::uint32_t is_open = 1;
constexpr std::uint32_t is_aborted = 2;

}  // namespace

error never_opened() {
  return {errc::timed_out, "all ranks have joined the gang, and the word to begin does not come", {}, {}};
}

void start_gate::open() noexcept {
  if ((word_.fetch_or(is_open, std::memory_order_acq_rel) & is_open) == 0) futex_wake_all(word_);
}

expected<void> start_gate::wait(const start_limits& limits, abort_word& abort) {
  const auto wake = abort.on_abort([this] {
    word_.fetch_or(is_aborted, std::memory_order_acq_rel);
    futex_wake_all(word_);
  });
  const auto deadline = deadline_after(limits.open);
  for (;;) {
    const auto seen = word_.load(std::memory_order_acquire);
    if (seen & is_open) return {};
    if (abort.is_set()) return unexpected(abort.reason());
    if (!futex_wait(word_, seen, deadline)) return unexpected(never_opened());
  }
}

}  // namespace hydrogen::comm
