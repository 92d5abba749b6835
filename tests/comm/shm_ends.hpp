#pragma once
// Two ends of a link through shared memory, each with what a rank does with one: frames have numbers, and contents that
// follow from them.

#include <hydrogen/comm/shm/link.hpp>

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>

#include <deque>
#include <memory>
#include <thread>

namespace hydrogen::comm::testing {

inline constexpr std::size_t small_ring = 4 << 10;

struct socket_pair {
  unique_fd first, second;
  socket_pair() {
    int fds[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    first.reset(fds[0]);
    second.reset(fds[1]);
  }
};

/// The content of a frame of this number.
inline byte_buffer content_of(std::uint64_t number, std::size_t size) {
  byte_buffer b(size);
  for (std::size_t i = 0; i < size; ++i) b[i] = static_cast<std::byte>((number * 131 + i * 7 + i / 251) % 256);
  return b;
}

inline frame_header header_of(std::uint64_t number, std::size_t size) {
  frame_header h;
  h.call = number;
  h.length = size;
  return h;
}

/// One rank with one link.
class end_of_link final : public link_sink {
 public:
  explicit end_of_link(std::unique_ptr<comm::link> l) : over(std::move(l)) {}

  /// Its payload is this end's, until it is sent.
  void send(std::uint64_t number, std::size_t size) {
    payloads_.push_back(content_of(number, size));
    over->send(header_of(number, size), payloads_.back(), false);
  }
  /// One look in both directions.
  expected<bool> step() {
    if (auto ok = over->flush(); !ok) return unexpected(ok.error());
    if (over->idle()) payloads_.clear();
    return over->receive(*this);
  }
  /// Sleeps until there is news; false when nobody wakes it.
  bool sleep() {
    pollfd set{over->fd(), over->will_sleep(over->events()), 0};
    const bool news = over->ready();
    const timespec limit{30, 0};
    if (!news) ++sleeps;
    const bool woken = news || ::ppoll(&set, 1, &limit, nullptr) == 1;
    over->awake();
    return woken;
  }
  /// Until so many frames have come and all of its own are sent. `asleep`: between any two looks in vain.
  expected<void> run(std::uint64_t frames, bool asleep = false) {
    const auto deadline = now() + 60s;
    while (arrived < frames || !over->idle()) {
      auto any = step();
      if (!any) return unexpected(any.error());
      if (*any) continue;
      if (arrived >= frames && over->idle()) break;
      if (asleep && !sleep()) return fail(errc::timed_out, "nobody has woken this end");
      if (!asleep) std::this_thread::yield();
      if (now() > deadline) return fail(errc::timed_out, "nothing comes any more");
    }
    return {};
  }

  std::unique_ptr<comm::link> over;
  std::uint64_t arrived = 0;  // in their order, with their contents, skipped ones too
  std::uint64_t sleeps = 0;
  std::uint64_t hold = ~0ull;        // the first frame that is held
  std::uint64_t skip_every = ~0ull;  // of frames

 private:
  expected<verdict> begin(const frame_header& h, mutable_byte_view& where) override {
    if (h.call != arrived) return fail(errc::internal, "a frame out of its turn");
    if (h.call >= hold) return verdict::hold;
    if ((h.call + 1) % skip_every == 0) {
      ++arrived;
      return verdict::skip;
    }
    in_.resize(h.length);
    where = in_;
    return verdict::take;
  }
  expected<void> end(const frame_header& h) override {
    if (in_ != content_of(h.call, h.length)) return fail(errc::internal, "a frame with something else in it");
    ++arrived;
    return {};
  }

  byte_buffer in_;
  std::deque<byte_buffer> payloads_;
};

struct joined_ends {
  explicit joined_ends(std::size_t ring = small_ring, bool share = true) {
    socket_pair p;
    dialler = std::make_unique<end_of_link>(shm::link::offer(std::move(p.first), ring));
    other = std::make_unique<end_of_link>(shm::link::accept(std::move(p.second), share));
  }
  std::unique_ptr<end_of_link> dialler, other;
};

/// What ends a link that looks again and again.
inline error end_by_looking(end_of_link& e) {
  for (int look = 0; look < 10'000; ++look) {
    if (const auto any = e.step(); !any) return any.error();
  }
  return {errc::none, "the link goes on", {}, {}};
}

}  // namespace hydrogen::comm::testing
