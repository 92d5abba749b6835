#pragma once
// Blocking reads and writes of the far end of a handshake.

#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/comm/handshake.hpp>

#include "target.hpp"
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <optional>

namespace hydrogen::fuzz {

/// A side that waits for longer hangs.
inline void limit_waits(const unique_fd& fd) {
  const timeval most{20, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most);
}

inline void write(const unique_fd& fd, byte_view bytes, portions& in) {
  while (!bytes.empty()) {
    const auto n = ::send(fd.get(), bytes.data(), std::min(in.next(), bytes.size()), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // the other side has closed
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

/// False when the other side closes before that.
inline bool read(const unique_fd& fd, mutable_byte_view out) {
  while (!out.empty()) {
    const auto n = ::recv(fd.get(), out.data(), out.size(), 0);
    if (n < 0 && errno == EINTR) continue;  // the fuzzer's clock
    must(n >= 0 || errno != EAGAIN, "the other side of a handshake hangs");
    if (n <= 0) return false;
    out = out.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

/// The opening of this side, or bytes of the input instead. What it is, if it is one.
inline std::optional<comm::handshake::opening> say_opening(const unique_fd& fd, bool raw, reader& input, portions& in) {
  comm::handshake::opening_bytes bytes = comm::handshake::write_opening({});
  if (raw) {
    const auto taken = input.take(bytes.size());
    write(fd, taken, in);
    if (taken.size() < bytes.size()) ::shutdown(fd.get(), SHUT_WR);  // the other side would wait for the rest
    return comm::handshake::read_opening(taken);
  }
  write(fd, bytes, in);
  return comm::handshake::opening{};
}

inline bool is_at_end(const unique_fd& fd) {
  std::byte more[1];
  return !read(fd, more);
}

}  // namespace hydrogen::fuzz
