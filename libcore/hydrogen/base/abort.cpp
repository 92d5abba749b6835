#include <hydrogen/base/abort.hpp>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

namespace hydrogen {

void abort_word::set(error reason) {
  std::lock_guard lock(mutex_);
  if (word_.load(std::memory_order_relaxed) != 0) return;
  reason_ = std::move(reason);
  word_.store(1, std::memory_order_release);
  futex_wake_all(word_);
  // Under the lock, so that a registration that is gone is not called.
  for (auto& [key, wake] : callbacks_) wake();
}

error abort_word::reason() const {
  std::lock_guard lock(mutex_);
  return reason_;
}

std::unique_ptr<abort_word::registration> abort_word::on_abort(std::function<void()> wake) {
  std::lock_guard lock(mutex_);
  if (word_.load(std::memory_order_relaxed) != 0) wake();
  const auto key = next_++;
  callbacks_.emplace(key, std::move(wake));
  return std::make_unique<registration>(*this, key);
}

abort_word::registration::~registration() {
  std::lock_guard lock(owner_.mutex_);
  owner_.callbacks_.erase(key_);
}

namespace {
int flag_of(futex_reach reach) {
  return reach == futex_reach::process ? FUTEX_PRIVATE_FLAG : 0;
}
}  // namespace

bool futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected_value, time_point deadline,
                futex_reach reach) {
  timespec at{};
  const timespec* limit = nullptr;
  if (deadline != never) {
    const auto since = deadline.time_since_epoch().count();
    if (since <= 0) return false;
    at = {since / 1'000'000'000, since % 1'000'000'000};
    limit = &at;
  }
  // BITSET takes an absolute time of the monotonic clock, the one behind steady_clock.
  const long rc = syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT_BITSET | flag_of(reach),
                          expected_value, limit, nullptr, FUTEX_BITSET_MATCH_ANY);
  return rc == 0 || errno != ETIMEDOUT;
}

void futex_wake_all(std::atomic<std::uint32_t>& word, futex_reach reach) {
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE | flag_of(reach), INT_MAX, nullptr, nullptr,
          0);
}

void futex_move(std::atomic<std::uint32_t>& from, std::uint32_t value, std::atomic<std::uint32_t>& to) {
  constexpr long wake = 0, move = 1;
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&from), FUTEX_CMP_REQUEUE, wake, move,
          reinterpret_cast<std::uint32_t*>(&to), value);
}

}  // namespace hydrogen
