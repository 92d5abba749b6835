#pragma once
// Bytes in order from one process to another through shared memory: one writer, one reader, no lock. Nobody waits here;
// who is about to sleep says so in its `ring_wants`, and the other side rings. One thread at a time on each side.
//
// Nothing is believed of the other side's memory but that it stays mapped: places outside the ring are never touched,
// and a number that cannot be gives errc::bad_input.
//
// Between the flags and the counters goes sequential consistency, all else is release and acquire. Who goes to sleep
// sets its flag and then looks at the other's counter; who moves its counter then looks at the flag. In the one order
// of these four accesses either the flag comes before the look at it, and the bell is rung, or the counter was moved
// before the last look at it, and nobody sleeps. What is between flag and sleep does not matter: the bell is a byte in
// a socket, and stays.

#include <hydrogen/base/error.hpp>

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hydrogen::comm::shm {

/// What a side that sleeps wants to be woken for. Set by itself, cleared by whoever rings, or by itself.
using ring_wants = std::atomic<std::uint32_t>;
inline constexpr std::uint32_t wants_bytes = 1;
inline constexpr std::uint32_t wants_room = 2;  // half of the ring: for less it would wake up too often

/// Bytes that ever went through; in shared memory, each on lines of its own. They move after the bytes are copied, so
/// a process may be killed between any two instructions.
struct ring_state {
  alignas(128) std::atomic<std::uint64_t> written;
  alignas(128) std::atomic<std::uint64_t> read;
};

/// Wakes the other side, if it wants that.
struct doorbell {
  ring_wants* wants = nullptr;  // of the other side
  int socket = -1;
  void ring(std::uint32_t news) const;
};

/// Both begin with an empty ring; `size` is a power of two.
class ring_writer {
 public:
  ring_writer() = default;
  ring_writer(ring_state& state, std::byte* bytes, std::size_t size) : state_(&state), bytes_(bytes), size_(size) {}
  /// Copies as much as fits; how many bytes.
  expected<std::size_t> write(std::span<const iovec>, const doorbell&);
  /// Half of it is free, or the other side has spoilt it.
  bool has_room() const;
  std::uint64_t written() const { return written_; }

 private:
  ring_state* state_ = nullptr;
  std::byte* bytes_ = nullptr;
  std::size_t size_ = 0;
  std::uint64_t written_ = 0;
  std::uint64_t read_ = 0;  // as last seen
};

class ring_reader {
 public:
  ring_reader() = default;
  ring_reader(ring_state& state, const std::byte* bytes, std::size_t size)
      : state_(&state), bytes_(bytes), size_(size) {}
  /// Copies what is there into these places; how many bytes.
  expected<std::size_t> read(std::span<const iovec>, const doorbell&);
  bool has_bytes() const;

 private:
  ring_state* state_ = nullptr;
  const std::byte* bytes_ = nullptr;
  std::size_t size_ = 0;
  std::uint64_t read_ = 0;
  std::uint64_t written_ = 0;  // as last seen
};

}  // namespace hydrogen::comm::shm
