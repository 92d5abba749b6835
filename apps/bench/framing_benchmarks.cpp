// `framing`: what frames cost on a link, beside the same bytes without frames over the same kind of connection; and
// links through shared memory beside those over TCP. One thread sends a message, the other answers with a small one;
// both look for bytes in the same way, without sleeping.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/comm/shm/link.hpp>
#include <hydrogen/comm/tcp/link.hpp>

#include "bench.hpp"
#include "collective_limits.hpp"
#include <sched.h>
#include <spdlog/fmt/fmt.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <stdexcept>
#include <thread>

namespace hydrogen::bench {
namespace {

constexpr auto patience_of_ends = 20s;

/// One end of a connection that carries messages.
class messenger {
 public:
  virtual ~messenger() = default;
  virtual void send(byte_view) = 0;
  virtual void receive(mutable_byte_view) = 0;
};

template <class Step>
void until_done(Step step) {
  time_point deadline = never;
  for (int looks = 0; !step(); ++looks) {
    ::sched_yield();
    if (looks % 1024 != 1023) continue;
    if (deadline == never) deadline = now() + patience_of_ends;
    if (now() > deadline) throw std::runtime_error("the other end does not answer");
  }
}

class plain_messenger final : public messenger {
 public:
  explicit plain_messenger(unique_fd socket) : socket_(std::move(socket)) {}

  void send(byte_view bytes) override {
    until_done([&] {
      bytes = bytes.subspan(moved(::send(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL)));
      return bytes.empty();
    });
  }
  void receive(mutable_byte_view bytes) override {
    until_done([&] {
      bytes = bytes.subspan(moved(::recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT)));
      return bytes.empty();
    });
  }

 private:
  static std::size_t moved(ssize_t n) {
    if (n > 0) return static_cast<std::size_t>(n);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    throw std::runtime_error("the connection is gone");
  }
  unique_fd socket_;
};

class framed_messenger final : public messenger, private comm::link_sink {
 public:
  explicit framed_messenger(std::unique_ptr<comm::link> link) : link_(std::move(link)) {}

  void send(byte_view bytes) override {
    for (std::size_t at = 0; at < bytes.size(); at += comm::max_frame_payload) {
      const auto part = bytes.subspan(at, std::min(comm::max_frame_payload, bytes.size() - at));
      comm::frame_header h;
      h.length = part.size();
      h.total = bytes.size();
      link_->send(h, part, false);
    }
    until_done([&] {
      value_or_throw(link_->flush());
      return link_->idle();
    });
  }
  void receive(mutable_byte_view bytes) override {
    place_ = bytes;
    until_done([&] {
      value_or_throw(link_->receive(*this));
      return place_.empty();
    });
  }

 private:
  expected<verdict> begin(const comm::frame_header& h, mutable_byte_view& where) override {
    if (h.length > place_.size()) return fail(errc::bad_input, "a frame of another size");
    where = place_.first(h.length);
    return verdict::take;
  }
  expected<void> end(const comm::frame_header& h) override {
    place_ = place_.subspan(h.length);
    return {};
  }

  std::unique_ptr<comm::link> link_;
  mutable_byte_view place_;  // what is still to come
};

struct connection {
  std::unique_ptr<messenger> first, second;
};

connection connect_plain() {
  auto ends = value_or_throw(loopback_pair());
  return {std::make_unique<plain_messenger>(std::move(ends.first)),
          std::make_unique<plain_messenger>(std::move(ends.second))};
}

connection connect_framed() {
  auto ends = value_or_throw(loopback_pair());
  return {std::make_unique<framed_messenger>(std::make_unique<comm::tcp::link>(std::move(ends.first))),
          std::make_unique<framed_messenger>(std::make_unique<comm::tcp::link>(std::move(ends.second)))};
}

connection connect_in_memory() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) throw std::runtime_error("no sockets");
  auto first = comm::shm::link::offer(unique_fd(fds[0]), comm::shm::link::ring_size_for(1));
  auto second = comm::shm::link::accept(unique_fd(fds[1]));
  if (second->medium() != comm::link_medium::host_memory) throw std::runtime_error("memory cannot be shared");
  return {std::make_unique<framed_messenger>(std::move(first)), std::make_unique<framed_messenger>(std::move(second))};
}

/// Microseconds from sending `there` bytes until `back` bytes have come, in turns over the connections.
std::vector<std::vector<double>> round_trips(std::vector<connection>& over, std::size_t there, std::size_t back,
                                             int rounds) {
  constexpr int batch = 20;
  std::vector<std::vector<double>> times(over.size());
  std::exception_ptr problem;
  {
    std::jthread other([&] {
      try {
        byte_buffer in(there), out(back);
        for (int r = -1; r < rounds; ++r) {
          for (auto& c : over) {
            for (int i = 0; i < batch; ++i) {
              c.second->receive(in);
              c.second->send(out);
            }
          }
        }
      } catch (...) {
        problem = std::current_exception();
      }
    });
    byte_buffer out(there), in(back);
    for (int r = -1; r < rounds; ++r) {
      for (std::size_t c = 0; c < over.size(); ++c) {
        const auto begin = now();
        for (int i = 0; i < batch; ++i) {
          over[c].first->send(out);
          over[c].first->receive(in);
        }
        if (r >= 0) times[c].push_back(microseconds(now() - begin) / batch);
      }
    }
  }
  if (problem) std::rethrow_exception(problem);
  return times;
}

void framing(session& s) {
  std::vector<connection> over;
  over.push_back(connect_plain());
  over.push_back(connect_framed());
  const auto large = round_trips(over, std::size_t{1} << 20, 8, s.rounds(60));
  s.report({.name = "a frame of 1 MiB",
            .size = "1 MiB there, 8 B back",
            .unit = "us",
            .samples = large[1],
            .beside = reference{"the bytes alone", median(large[0]), median_ratio(large[1], large[0])},
            .aim = goal{goal::kind::ratio, 1 / 1.05},
            .note = {}});
  const auto small = round_trips(over, 8, 8, s.rounds(200));
  std::vector<double> extra;
  for (std::size_t i = 0; i < small[0].size(); ++i) extra.push_back((small[1][i] - small[0][i]) / 2);
  s.report(
      {.name = "what a frame adds",
       .size = "8 B",
       .unit = "us",
       .samples = extra,
       .beside = {},
       .aim = goal{goal::kind::at_most, 3},
       .note = fmt::format("there and back {:.2f} us framed, {:.2f} us plain", median(small[1]), median(small[0]))});

  over.erase(over.begin());
  over.push_back(connect_in_memory());
  const auto compare = [&](const char* name, const char* size, std::size_t there, int rounds) {
    const auto times = round_trips(over, there, 8, s.rounds(rounds));
    s.report({.name = name,
              .size = size,
              .unit = "us",
              .samples = times[1],
              .beside = reference{"the same over TCP", median(times[0]), median_ratio(times[1], times[0])},
              .aim = {},
              .note = {}});
  };
  compare("there and back through memory", "8 B", 8, 200);
  compare("there and back through memory", "64 KiB there, 8 B back", 64 * KiB, 100);
  compare("there and back through memory", "1 MiB there, 8 B back", MiB, 60);
  compare("there and back through memory", "16 MiB there, 8 B back", 16 * MiB, 10);
}

const registration framing_registered{
    "framing", "what frames cost on a TCP link, beside the bytes alone; links through memory beside TCP", framing};

}  // namespace
}  // namespace hydrogen::bench
