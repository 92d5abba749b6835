// The reader of control connections: a loop of the reactor on this thread, whose only connection gets any bytes in any
// portions. What it hands over is compared with a reader of its own.
//
//     input: | portions u8 | stream |
#include <hydrogen/comm/reactor_loop.hpp>

#include "target.hpp"
#include <sys/socket.h>

using namespace hydrogen;
using namespace hydrogen::comm;

namespace {

constexpr std::size_t max_frame = 512;
constexpr std::size_t max_bye = 8 << 10;

struct outcome {
  std::vector<byte_buffer> frames;
  errc end = errc::none;
};

outcome expected_of(byte_view stream) {
  outcome out;
  enum kind : std::uint8_t { data, ping, pong, bye };
  for (;;) {
    out.end = errc::disconnected;
    if (stream.size() < 5) return out;
    std::uint32_t size = 0;
    std::memcpy(&size, stream.data(), 4);
    const auto what = static_cast<std::uint8_t>(stream[4]);
    stream = stream.subspan(5);
    out.end = errc::bad_input;
    if (what > bye) return out;
    out.end = errc::over_limit;
    if (size > (what == data ? max_frame : what == bye ? max_bye : 0)) return out;
    out.end = errc::disconnected;
    if (stream.size() < size || what == bye) return out;
    if (what == data) out.frames.emplace_back(stream.begin(), stream.begin() + size);
    stream = stream.subspan(size);
  }
}

/// Writes the stream into the far end of the connection, a portion a round.
class player {
 public:
  player(unique_fd far, byte_view stream, std::uint8_t seed) : far_(std::move(far)), left_(stream), portions_(seed) {}

  void play() {
    if (!far_) return;
    const auto size = std::min(portions_.next(), left_.size());
    if (size != 0) {
      const auto n = ::send(far_.get(), left_.data(), size, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) left_ = left_.subspan(static_cast<std::size_t>(n));
    }
    if (left_.empty()) ::shutdown(far_.get(), SHUT_WR);
  }
  void hang_up() { far_.reset(); }

 private:
  unique_fd far_;
  byte_view left_;
  fuzz::portions portions_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::reader in(data, size);
  const auto seed = in.number<std::uint8_t>();
  const auto stream = in.rest();
  const auto right = expected_of(stream);

  // The buffer of the loop, what is handed over, and the largest bye as it grows.
  const fuzz::allocation_limit limit((512 << 10) + 16 * size);
  int fds[2];
  fuzz::must(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0, "no sockets");
  player far(unique_fd(fds[1]), stream, seed);
  outcome got;
  int ends = 0;
  const auto loop = std::make_shared<reactor_loop>();
  connection_handlers handlers;
  handlers.on_frame = [&](const connection_ptr&, byte_buffer frame) { got.frames.push_back(std::move(frame)); };
  handlers.on_closed = [&](const connection_ptr&, const error& why) {
    got.end = why.code;
    ++ends;
    far.hang_up();
    loop->stop();
  };
  connection_options options;
  options.max_frame = max_frame;
  options.heartbeat_interval = options.heartbeat_timeout = 1h;
  loop->adopt(unique_fd(fds[0]), {}, std::move(handlers), options);
  loop->around_rounds([&](const std::function<void()>& deliver) {
    deliver();
    far.play();
  });
  loop->run();

  fuzz::must(ends == 1, "a connection does not end once");
  fuzz::must(got.frames == right.frames, "other frames are handed over than were sent");
  fuzz::must(got.end == right.end, "a connection ends for another reason than there is");
  return 0;
}
