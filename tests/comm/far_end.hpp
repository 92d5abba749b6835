#pragma once
// The far end of a gang link, where the test speaks for the other rank, frame by frame.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/comm/frame.hpp>

#include <doctest/doctest.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <thread>
#include <utility>

namespace hydrogen::comm::testing {

/// Blocks. What is not there to be read, or not read by the other side, within 30 s is a failed REQUIRE.
class far_end {
 public:
  explicit far_end(unique_fd fd) : fd_(std::move(fd)) {
    const timeval limit{30, 0};
    REQUIRE(::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    REQUIRE(::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0);
  }

  void write(byte_view bytes) {
    REQUIRE(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
  }
  void write(frame_header h, byte_view payload) {
    h.length = payload.size();
    frame_prefix prefix;
    encode_frame(h, prefix);
    write(prefix.bytes);
    byte_buffer padded(payload.begin(), payload.end());
    padded.resize(payload.size() + frame_padding(payload.size()));
    if (!padded.empty()) write(padded);
  }
  void close() { fd_.reset(); }
  /// Waits until the other side has read all that was written.
  void await_read() const {
    const auto until = now() + std::chrono::seconds(30);
    for (int left = 1; left != 0; std::this_thread::yield()) {
      REQUIRE(::ioctl(fd_.get(), SIOCOUTQ, &left) == 0);
      REQUIRE(now() < until);
    }
  }

  /// Bytes that have come and are not read yet.
  std::size_t unread() const {
    int bytes = 0;
    REQUIRE(::ioctl(fd_.get(), FIONREAD, &bytes) == 0);
    return static_cast<std::size_t>(bytes);
  }

  /// The next frame that comes, and its payload.
  std::pair<frame_header, byte_buffer> read() {
    frame_prefix prefix;
    take(prefix.bytes);
    const auto h = decode_frame(prefix);
    REQUIRE(h);
    byte_buffer payload(h->length + frame_padding(h->length));
    take(payload);
    payload.resize(h->length);
    return {*h, std::move(payload)};
  }

 private:
  void take(mutable_byte_view into) {
    if (into.empty()) return;
    REQUIRE(::recv(fd_.get(), into.data(), into.size(), MSG_WAITALL) == static_cast<ssize_t>(into.size()));
  }

  unique_fd fd_;
};

}  // namespace hydrogen::comm::testing
