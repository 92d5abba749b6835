#include <hydrogen/comm/shm/ring.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace hydrogen::comm::shm {
namespace {

// The other side is told at least so often, and works on one part while the next is copied.
constexpr std::size_t step = 64 << 10;

unexpected spoilt() {
  return fail(errc::bad_input, "the other side has spoilt the ring of this link");
}

}  // namespace

void doorbell::ring(std::uint32_t news) const {
  if ((wants->load(std::memory_order_seq_cst) & news) == 0) return;
  // Once a sleep.
  if ((wants->fetch_and(~news, std::memory_order_seq_cst) & news) == 0) return;
  const char byte = 0;
  // A full socket wakes as well; one that has ended shows it when it is read.
  [[maybe_unused]] const auto n = ::send(socket, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

expected<std::size_t> ring_writer::write(std::span<const iovec> parts, const doorbell& bell) {
  std::size_t done = 0;
  std::size_t untold = 0;
  const auto tell = [&] {
    if (untold == 0) return;
    state_->written.store(written_, std::memory_order_seq_cst);
    bell.ring(wants_bytes);
    untold = 0;
  };
  for (const auto& part : parts) {
    for (std::size_t at = 0; at < part.iov_len;) {
      auto room = size_ - (written_ - read_);
      if (room == 0) {
        const auto read = state_->read.load(std::memory_order_acquire);
        if (written_ - read > written_ - read_) return spoilt();
        if (read == read_) {
          tell();
          return done;
        }
        read_ = read;
        room = size_ - (written_ - read_);
      }
      const auto place = written_ % size_;
      const auto n = std::min({room, part.iov_len - at, step - untold, size_ - place});
      std::memcpy(bytes_ + place, static_cast<const std::byte*>(part.iov_base) + at, n);
      at += n;
      done += n;
      written_ += n;
      untold += n;
      if (untold == step) tell();
    }
  }
  tell();
  return done;
}

bool ring_writer::has_room() const {
  const auto used = written_ - state_->read.load(std::memory_order_seq_cst);
  return used <= size_ / 2 || used > size_;
}

expected<std::size_t> ring_reader::read(std::span<const iovec> parts, const doorbell& bell) {
  std::size_t done = 0;
  std::size_t untold = 0;
  const auto tell = [&] {
    if (untold == 0) return;
    state_->read.store(read_, std::memory_order_seq_cst);
    // Of what was seen: there may be more in it by now, and less room.
    if (written_ - read_ <= size_ / 2) bell.ring(wants_room);
    untold = 0;
  };
  for (const auto& part : parts) {
    for (std::size_t at = 0; at < part.iov_len;) {
      auto there = written_ - read_;
      if (there == 0) {
        const auto written = state_->written.load(std::memory_order_acquire);
        there = written - read_;
        if (there > size_) return spoilt();
        if (there == 0) {
          tell();
          return done;
        }
        written_ = written;
      }
      const auto place = read_ % size_;
      const auto n = std::min({static_cast<std::size_t>(there), part.iov_len - at, step - untold, size_ - place});
      std::memcpy(static_cast<std::byte*>(part.iov_base) + at, bytes_ + place, n);
      at += n;
      done += n;
      read_ += n;
      untold += n;
      if (untold == step) tell();
    }
  }
  tell();
  return done;
}

bool ring_reader::has_bytes() const {
  return written_ != read_ || state_->written.load(std::memory_order_seq_cst) != read_;
}

}  // namespace hydrogen::comm::shm
