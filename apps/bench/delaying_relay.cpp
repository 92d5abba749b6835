#include "delaying_relay.hpp"

#include <hydrogen/base/error.hpp>
#include <hydrogen/comm/endpoint.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <memory>
#include <vector>

namespace hydrogen::bench {
namespace {

constexpr std::size_t read_size = 256 << 10;
constexpr std::size_t most_held = 64 << 20;  // bytes of one direction
constexpr auto stop_looked_at = 100ms;

comm::socket_address address_of(const std::string& endpoint) {
  return value_or_throw(comm::parse_endpoint(endpoint));
}

void set_options(int fd) {
  const int on = 1, size = 4 << 20;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

unique_fd socket_for(const comm::socket_address& at) {
  unique_fd s(::socket(at.bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  set_options(s.get());
  return s;
}

/// Where it listens then.
unique_fd listener_at(const std::string& endpoint, std::string& bound) {
  const auto at = address_of(endpoint);
  auto s = socket_for(at);
  if (::bind(s.get(), at.get(), at.size) != 0 || ::listen(s.get(), 64) != 0) {
    throw failure(fail_errno("the listener of a relay", endpoint).value());
  }
  bound = comm::to_string(comm::local_address(s.get()));
  return s;
}

struct held_bytes {
  time_point due;
  std::vector<char> bytes;
  std::size_t sent = 0;
};

/// One direction of a connection.
struct direction {
  std::shared_ptr<unique_fd> from, to;
  std::deque<held_bytes> held;
  std::size_t amount = 0;
  bool at_end = false;     // nothing more comes in
  bool is_closed = false;  // and the other side knows

  void take(duration delay) {
    held_bytes h;
    h.bytes.resize(read_size);
    const auto n = ::recv(from->get(), h.bytes.data(), h.bytes.size(), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    at_end = n <= 0;
    if (at_end) return;
    h.bytes.resize(static_cast<std::size_t>(n));
    h.due = now() + delay;
    amount += h.bytes.size();
    held.push_back(std::move(h));
  }

  /// Sends what is due; true: the socket takes no more now.
  bool give() {
    while (!held.empty() && held.front().due <= now()) {
      auto& h = held.front();
      const auto n = ::send(to->get(), h.bytes.data() + h.sent, h.bytes.size() - h.sent, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
      if (n < 0) {
        held.clear();
        at_end = true;
        break;
      }
      amount -= static_cast<std::size_t>(n);
      h.sent += static_cast<std::size_t>(n);
      if (h.sent == h.bytes.size()) held.pop_front();
    }
    if (held.empty() && at_end && !is_closed) {
      ::shutdown(to->get(), SHUT_WR);
      is_closed = true;
    }
    return false;
  }
};

}  // namespace

delaying_relay::delaying_relay(const std::string& target, duration delay) : target_(target), delay_(delay) {
  listeners_[0] = listener_at("127.0.0.1:0", endpoint_);
  std::string unused;
  listeners_[1] = listener_at(comm::host_endpoint(endpoint_), unused);
  thread_ = std::thread([this] { serve(); });
}

delaying_relay::~delaying_relay() {
  stops_ = true;
  thread_.join();
}

void delaying_relay::serve() {
  ::prctl(PR_SET_TIMERSLACK, 1000);
  std::vector<direction> directions;
  std::vector<pollfd> polled;
  while (!stops_) {
    polled.clear();
    for (const auto& l : listeners_) polled.push_back({l.get(), POLLIN, 0});
    auto wakes = now() + stop_looked_at;
    for (auto& d : directions) {
      const bool is_full = d.give();
      if (is_full) {
        polled.push_back({d.to->get(), POLLOUT, 0});
      } else if (!d.held.empty()) {
        wakes = std::min(wakes, d.held.front().due);
      }
      if (!d.at_end && d.amount < most_held) polled.push_back({d.from->get(), POLLIN, 0});
    }
    std::erase_if(directions, [](const direction& d) { return d.is_closed; });
    const auto left = std::max<duration>(wakes - now(), 0ns).count();
    const timespec limit{left / 1'000'000'000, left % 1'000'000'000};
    if (::ppoll(polled.data(), polled.size(), &limit, nullptr) <= 0) continue;
    for (int i = 0; i < 2; ++i) {
      if ((polled[i].revents & POLLIN) == 0) continue;
      const auto at = address_of(i == 0 ? target_ : comm::host_endpoint(target_));
      auto near = std::make_shared<unique_fd>(::accept4(listeners_[i].get(), nullptr, nullptr, SOCK_CLOEXEC));
      auto far = std::make_shared<unique_fd>(socket_for(at));
      if (!*near || ::connect(far->get(), at.get(), at.size) != 0) continue;
      set_options(near->get());
      directions.push_back({near, far, {}, 0, false, false});
      directions.push_back({far, near, {}, 0, false, false});
    }
    for (auto& d : directions) {
      for (const auto& p : polled) {
        if (p.fd == d.from->get() && (p.events & POLLIN) != 0 && p.revents != 0 && !d.at_end) d.take(delay_);
      }
    }
  }
}

}  // namespace hydrogen::bench
