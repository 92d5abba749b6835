#include "delayed_link.hpp"

#include <hydrogen/base/bytes.hpp>
#include <hydrogen/base/node_config.hpp>
#include <hydrogen/base/unique_fd.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <spdlog/fmt/fmt.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <deque>
#include <list>
#include <thread>
#include <vector>

namespace hydrogen::bench {
namespace {

unique_fd loopback_socket() {
  unique_fd s(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1, size = 4 << 20;
  ::setsockopt(s.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(s.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  return s;
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return at;
}

/// Bytes on their way from one socket to another.
struct direction {
  int from = -1;
  int to = -1;
  struct portion {
    time_point due;
    byte_buffer bytes;
    std::size_t sent = 0;
  };
  std::deque<portion> under_way;
  bool ended = false;

  void take(duration delay) {
    byte_buffer bytes(256 << 10);
    const auto n = ::recv(from, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) ended = true;
    if (n <= 0) return;
    bytes.resize(static_cast<std::size_t>(n));
    under_way.push_back({now() + delay, std::move(bytes)});
  }
  void pass_on() {
    while (!under_way.empty() && under_way.front().due <= now()) {
      auto& p = under_way.front();
      const auto n = ::send(to, p.bytes.data() + p.sent, p.bytes.size() - p.sent, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n < 0 && errno != EAGAIN && errno != EINTR) ended = true;
      if (n <= 0) return;
      p.sent += static_cast<std::size_t>(n);
      if (p.sent == p.bytes.size()) under_way.pop_front();
    }
  }
};

struct pair_of_sockets {
  unique_fd near, far;
  direction there, back;
};

class relay final : public delayed_link {
 public:
  relay(unique_fd listener, std::uint16_t port, std::uint16_t target, duration delay)
      : listener_(std::move(listener)), port_(port), target_(target), delay_(delay) {
    thread_ = std::thread([this] { run(); });
  }
  ~relay() override {
    stop_ = true;
    thread_.join();
  }
  std::string endpoint() const override { return fmt::format("127.0.0.1:{}", port_); }

 private:
  void accept() {
    unique_fd near(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    auto far = loopback_socket();
    auto at = loopback(target_);
    if (!near || ::connect(far.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) return;
    auto& p = pairs_.emplace_back();
    p.near = std::move(near);
    p.far = std::move(far);
    p.there = {p.near.get(), p.far.get(), {}, false};
    p.back = {p.far.get(), p.near.get(), {}, false};
  }

  void run() {
    while (!stop_) {
      std::vector<pollfd> waits{{listener_.get(), POLLIN, 0}};
      auto next = now() + 50ms;
      for (auto& p : pairs_) {
        for (auto* d : {&p.there, &p.back}) {
          waits.push_back({d->from, static_cast<short>(d->ended ? 0 : POLLIN), 0});
          if (!d->under_way.empty()) next = std::min(next, std::max(d->under_way.front().due, now() + 20us));
        }
      }
      const auto left = std::max<duration>(next - now(), 0ns);
      const timespec limit{left.count() / 1'000'000'000, left.count() % 1'000'000'000};
      ::ppoll(waits.data(), waits.size(), &limit, nullptr);
      if ((waits[0].revents & POLLIN) != 0) accept();
      for (auto& p : pairs_) {
        for (auto* d : {&p.there, &p.back}) {
          if (!d->ended) d->take(delay_);
          d->pass_on();
        }
      }
      std::erase_if(pairs_, [](const auto& p) {
        return (p.there.ended || p.back.ended) && p.there.under_way.empty() && p.back.under_way.empty();
      });
    }
  }

  unique_fd listener_;
  const std::uint16_t port_;
  const std::uint16_t target_;
  const duration delay_;
  std::list<pair_of_sockets> pairs_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace

expected<std::unique_ptr<delayed_link>> delayed_link::make(const std::string& target, duration delay) {
  const auto where = parse_host_port(target);
  if (!where) return unexpected(where.error());
  auto listener = loopback_socket();
  auto at = loopback(0);
  socklen_t length = sizeof at;
  auto* address = reinterpret_cast<sockaddr*>(&at);
  if (::bind(listener.get(), address, length) != 0 || ::listen(listener.get(), 16) != 0 ||
      ::getsockname(listener.get(), address, &length) != 0) {
    return fail_errno("listen on loopback");
  }
  return std::make_unique<relay>(std::move(listener), ntohs(at.sin_port), where->port, delay);
}

}  // namespace hydrogen::bench
