#pragma once
// The abort word: one atomic that every wait of a gang or task looks at, and that can be waited on by futex.
// Set once, by any thread (an actor, the reactor, a completion); never cleared. A waiter that sleeps on
// something else is woken by its callback, registered with `on_abort`.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/error.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

namespace hydrogen {

class abort_word {
 public:
  abort_word() = default;
  abort_word(const abort_word&) = delete;
  abort_word& operator=(const abort_word&) = delete;

  /// True once set. Cheap enough for inner loops.
  bool is_set() const noexcept { return word_.load(std::memory_order_acquire) != 0; }

  /// Sets it with the reason that waits will report; the first one wins. Runs the callbacks on this thread.
  void set(error reason);

  /// The reason; `errc::none` while not set.
  error reason() const;

  /// Runs `wake` when it is set, at once if it already is. The callback must not block. The returned handle
  /// unregisters; after it is gone the callback does not run any more.
  class registration;
  std::unique_ptr<registration> on_abort(std::function<void()> wake);

 private:
  friend class registration;
  std::atomic<std::uint32_t> word_{0};
  mutable std::mutex mutex_;
  error reason_{errc::none, {}, {}, {}};
  std::uint64_t next_ = 0;
  std::map<std::uint64_t, std::function<void()>> callbacks_;
};

class abort_word::registration {
 public:
  registration(abort_word& owner, std::uint64_t key) : owner_(owner), key_(key) {}
  registration(const registration&) = delete;
  ~registration();

 private:
  abort_word& owner_;
  std::uint64_t key_;
};

/// Who may sleep on a futex word: threads of this process, or of any process that has mapped its memory.
enum class futex_reach : std::uint8_t { process, host };

/// Sleeps while `word == expected_value`, until woken or the deadline. Load the value *before* testing the predicate:
/// reading it again afterwards loses wake-ups. Returns false at the deadline. Spurious returns are possible.
bool futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected_value, time_point deadline,
                futex_reach = futex_reach::process);
void futex_wake_all(std::atomic<std::uint32_t>& word, futex_reach = futex_reach::process);
/// While `from == value`: one thread that sleeps there, with futex_reach::host, sleeps on at `to` instead, without
/// having been woken. Where nobody sleeps yet, nothing happens.
void futex_move(std::atomic<std::uint32_t>& from, std::uint32_t value, std::atomic<std::uint32_t>& to);

}  // namespace hydrogen
