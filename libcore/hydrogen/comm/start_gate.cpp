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

void start_gate::open() {
  std::vector<std::function<void()>> all;
  {
    std::lock_guard lock(mutex_);
    if ((word_.fetch_or(is_open, std::memory_order_acq_rel) & is_open) == 0) futex_wake_all(word_);
    all.swap(on_open_);
  }
  for (const auto& begin : all) begin();
}

void start_gate::on_open(std::function<void()> begin) {
  {
    std::lock_guard lock(mutex_);
    if ((word_.load(std::memory_order_acquire) & is_open) == 0) return on_open_.push_back(std::move(begin));
  }
  begin();
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
