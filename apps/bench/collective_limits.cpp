#include "collective_limits.hpp"

#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/comm/element.hpp>
#include <hydrogen/comm/patience.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

namespace hydrogen::bench {
namespace {

constexpr auto patience_of_limits = 20s;

/// Threads that leave it within a fraction of a microsecond of each other, where each has a core. Throws in all of them
/// when one has broken it or is not there in time.
class spinning_barrier {
 public:
  explicit spinning_barrier(std::uint32_t threads) : threads_(threads) {}

  void wait() {
    const auto target = (arrived_.fetch_add(1) / threads_ + 1) * threads_;
    time_point deadline = never;
    for (std::uint32_t looks = 0; arrived_.load(std::memory_order_acquire) < target; ++looks) {
      comm::spin_pause();
      // Threads may outnumber cores.
      if (looks % 256 != 255) continue;
      ::sched_yield();
      if (deadline == never) deadline = now() + patience_of_limits;
      if (broken_.load() || now() > deadline) throw std::runtime_error("a thread does not come");
    }
  }

  void break_up() { broken_ = true; }

 private:
  const std::uint64_t threads_;
  std::atomic<std::uint64_t> arrived_{0};
  std::atomic<bool> broken_{false};
};

/// Runs `body` on so many threads; the first exception of one is the error.
template <class Body>
expected<void> on_threads(std::uint32_t count, spinning_barrier& together, const Body& body) {
  std::vector<std::string> problems(count);
  std::vector<std::jthread> threads;
  for (std::uint32_t t = 0; t < count; ++t) {
    threads.emplace_back([&, t] {
      try {
        body(t);
      } catch (const std::exception& e) {
        problems[t] = e.what();
        together.break_up();
      }
    });
  }
  threads.clear();
  for (const auto& p : problems) {
    if (!p.empty()) return fail(errc::internal, p);
  }
  return {};
}

class kernel_threads : public collective_system {
 public:
  explicit kernel_threads(std::uint32_t ranks) : ranks_(ranks), buffers_(ranks) {}

  std::string name() const override { return "the addition alone"; }

  expected<std::vector<double>> run(const timed_call& c) override {
    const auto count = c.bytes / sizeof(float);
    for (auto& b : buffers_) b.resize(count);
    spinning_barrier together(ranks_);
    std::vector<time_point> begin(ranks_), end(ranks_);
    std::vector<double> times;
    auto ran = on_threads(ranks_, together, [&](std::uint32_t t) {
      for (int i = -c.warm_up; i < c.iterations; ++i) {
        fill_summands(buffers_[t], t);
        together.wait();
        begin[t] = now();
        add_slice(t, count);
        end[t] = now();
        together.wait();
        if (!is_sum(std::span(buffers_[t]).first(1), ranks_)) throw std::runtime_error("a wrong sum");
        if (t == 0 && i >= 0) {
          const auto all = *std::max_element(end.begin(), end.end()) - *std::min_element(begin.begin(), begin.end());
          times.push_back(std::chrono::duration<double, std::micro>(all).count());
        }
        together.wait();
      }
    });
    if (!ran) return unexpected(ran.error());
    return times;
  }

 private:
  void add_slice(std::uint32_t t, std::size_t count) {
    constexpr std::size_t line = 64 / sizeof(float);
    const auto edge = [&](std::uint32_t n) { return n == ranks_ ? count : count * n / ranks_ / line * line; };
    std::vector<const std::byte*> sources;
    std::vector<std::byte*> destinations;
    for (auto& b : buffers_) {
      destinations.push_back(reinterpret_cast<std::byte*>(b.data() + edge(t)));
      sources.push_back(destinations.back());
    }
    comm::combine(comm::element::float32, comm::reduction::sum, sources, edge(t + 1) - edge(t), destinations);
  }

  const std::uint32_t ranks_;
  std::vector<page_vector<float>> buffers_;
};

/// Sends all of `out` while it receives all of `in`.
void exchange(int fd, std::span<const float> out, std::span<float> in) {
  auto from = std::as_bytes(out);
  auto to = std::as_writable_bytes(in);
  const auto moved = [](ssize_t n) -> std::size_t {
    if (n > 0) return static_cast<std::size_t>(n);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    throw std::runtime_error("the exchange has lost its connection");
  };
  // What fits the caches is better sent in pieces, which are still there when the other side takes them.
  const std::size_t piece = from.size() > (4u << 20) ? from.size() : 256u << 10;
  constexpr int looks = 20;
  for (int idle = 0; !from.empty() || !to.empty();) {
    std::size_t progress = 0;
    if (!from.empty()) {
      const auto n = moved(::send(fd, from.data(), std::min(from.size(), piece), MSG_DONTWAIT | MSG_NOSIGNAL));
      from = from.subspan(n);
      progress += n;
    }
    if (!to.empty()) {
      const auto n = moved(::recv(fd, to.data(), std::min(to.size(), piece), MSG_DONTWAIT));
      to = to.subspan(n);
      progress += n;
    }
    idle = progress > 0 ? 0 : idle + 1;
    if (idle == 0) continue;
    if (idle < looks) {
      ::sched_yield();
      continue;
    }
    pollfd set{fd, static_cast<short>((from.empty() ? 0 : POLLOUT) | (to.empty() ? 0 : POLLIN)), 0};
    const auto limit = std::chrono::milliseconds(patience_of_limits).count();
    if (::poll(&set, 1, static_cast<int>(limit)) == 0) throw std::runtime_error("the exchange stands still");
  }
}

class exchanging_threads : public collective_system {
 public:
  exchanging_threads(unique_fd first, unique_fd second) : sockets_{std::move(first), std::move(second)} {}

  std::string name() const override { return "plain exchange"; }

  expected<std::vector<double>> run(const timed_call& c) override {
    spinning_barrier together(2);
    std::vector<double> times;
    auto ran = on_threads(2, together, [&](std::uint32_t t) {
      auto& out = out_[t];
      auto& in = in_[t];
      out.resize(c.bytes / sizeof(float));
      in.resize(out.size());
      const auto fd = sockets_[t].get();
      auto mine = time_calls(c,
                             {[&] { fill_summands(out, t); }, [&] { exchange(fd, out, in); },
                              [&] { return in.front() == static_cast<float>(2 - t); }},
                             [&] { together.wait(); });
      if (t == 0) times = std::move(mine);
    });
    if (!ran) return unexpected(ran.error());
    return times;
  }

 private:
  std::array<unique_fd, 2> sockets_;
  std::array<page_vector<float>, 2> out_, in_;
};

}  // namespace

std::unique_ptr<collective_system> fused_kernel(int ranks) {
  return std::make_unique<kernel_threads>(static_cast<std::uint32_t>(ranks));
}

expected<std::pair<unique_fd, unique_fd>> loopback_pair() {
  // Of the listener: what is accepted has its buffers.
  const auto made = [] {
    unique_fd s(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int size = 4 << 20, on = 1;
    ::setsockopt(s.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    ::setsockopt(s.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    ::setsockopt(s.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return s;
  };
  const auto listener = made();
  auto first = made();
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof at;
  auto* address = reinterpret_cast<sockaddr*>(&at);
  if (::bind(listener.get(), address, length) != 0 || ::listen(listener.get(), 1) != 0 ||
      ::getsockname(listener.get(), address, &length) != 0 || ::connect(first.get(), address, length) != 0) {
    return fail_errno("two sockets on loopback");
  }
  unique_fd second(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!second) return fail_errno("two sockets on loopback");
  return std::pair(std::move(first), std::move(second));
}

started_system plain_exchange() {
  auto ends = loopback_pair();
  if (!ends) return unexpected(std::move(ends.error()));
  return std::make_unique<exchanging_threads>(std::move(ends->first), std::move(ends->second));
}

}  // namespace hydrogen::bench
