#include <hydrogen/base/log.hpp>
#include <hydrogen/comm/acceptor.hpp>
#include <hydrogen/comm/endpoint.hpp>
#include <hydrogen/comm/handshake.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace hydrogen::comm {

using namespace handshake;

/// A socket that has not proven the secret yet.
struct acceptor::pending {
  unique_fd fd;
  std::string peer;
  time_point since;
  enum class part { opening, claim, hello } expects = part::opening;
  std::size_t have = 0;             // bytes of the buffer that are filled
  std::size_t need = opening_size;  // bytes that the present part ends at
  std::array<std::byte, claim_size + max_hello_size> buffer;
  nonce ours{};
  nonce theirs{};
};

expected<std::unique_ptr<acceptor>> acceptor::listen(const std::string& address, const secret& key, boot_id self,
                                                     accept_handler handler, acceptor_options options) {
  const auto at = parse_endpoint(address);
  if (!at) return unexpected(at.error());
  if (at->bytes.ss_family == AF_UNIX) {
    return fail(errc::bad_input, "a process listens at an address and a port", address, "use 127.0.0.1:0");
  }
  if (!at->is_loopback()) {
    return fail(errc::refused, "listening outside loopback needs encryption, which is not there yet", address,
                "use an address like 127.0.0.1:" + std::to_string(at->port()));
  }
  unique_fd fd(socket(at->bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
  if (!fd) return fail_errno("socket", address);
  const int on = 1;
  // Allows a port whose old connections are still winding down; a port that somebody listens on stays refused.
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd.get(), at->get(), at->size) != 0 || ::listen(fd.get(), SOMAXCONN) != 0) {
    if (errno == EADDRINUSE) {
      return fail(errc::refused, "the port is in use by another process", address,
                  "choose another port, or end what listens there: ss -ltnp 'sport = :" + std::to_string(at->port()) +
                      "' shows it");
    }
    return fail_errno("listen", address);
  }
  auto endpoint = to_string(local_address(fd.get()));
  const auto host_at = parse_endpoint(host_endpoint(endpoint));
  if (!host_at) return unexpected(host_at.error());
  unique_fd host_fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!host_fd || bind(host_fd.get(), host_at->get(), host_at->size) != 0 || ::listen(host_fd.get(), SOMAXCONN) != 0) {
    return fail_errno("listen", host_endpoint(endpoint));
  }
  std::unique_ptr<acceptor> made(
      new acceptor(std::move(fd), std::move(host_fd), std::move(endpoint), key, self, std::move(handler), options));
  if (!made->stop_) return fail(errc::io, "no file descriptor is left", address, "raise the limit: ulimit -n");
  made->thread_ = std::thread([a = made.get()] { a->run(); });
  return made;
}

acceptor::acceptor(unique_fd listener, unique_fd host_listener, std::string endpoint, const secret& key, boot_id self,
                   accept_handler handler, acceptor_options options)
    : listener_(std::move(listener)),
      host_listener_(std::move(host_listener)),
      endpoint_(std::move(endpoint)),
      key_(key),
      self_(self),
      handler_(std::move(handler)),
      options_(options) {}

acceptor::~acceptor() {
  if (!thread_.joinable()) return;
  stop_.set();
  thread_.join();
}

void acceptor::run() {
  pthread_setname_np(pthread_self(), "hy-acceptor");
  std::vector<pollfd> set;
  for (;;) {
    const auto t = now();
    std::erase_if(pending_, [&](const auto& p) {
      if (t - p->since < options_.handshake_timeout) return false;
      refuse(*p, "it took too long to prove the secret");
      return true;
    });
    const bool full = pending_.size() >= options_.max_pending;
    const bool may_take = t >= paused_until_ && (!full || t - pending_.front()->since >= options_.least_time);

    time_point wake = never;
    if (!pending_.empty()) wake = pending_.front()->since + options_.handshake_timeout;
    if (full && !may_take) wake = std::min(wake, pending_.front()->since + options_.least_time);
    if (t < paused_until_) wake = std::min(wake, paused_until_);

    set.clear();
    set.push_back({stop_.get(), POLLIN, 0});
    for (const auto& listener : {&listener_, &host_listener_}) {
      set.push_back({may_take ? listener->get() : -1, POLLIN, 0});
    }
    for (const auto& p : pending_) set.push_back({p->fd.get(), POLLIN, 0});
    const poll_timeout left(wake);
    const int n = ppoll(set.data(), set.size(), left.get(), nullptr);
    if (n < 0) {
      invariant(errno == EINTR, "poll of a listener failed");
      continue;
    }
    if (set[0].revents != 0) return;
    for (std::size_t i = 0; i < pending_.size(); ++i) {
      if (set[i + 3].revents != 0 && advance(*pending_[i]) == step::done) pending_[i].reset();
    }
    std::erase(pending_, nullptr);
    if (set[1].revents != 0) take_new(listener_.get());
    if (set[2].revents != 0) take_new(host_listener_.get());
  }
}

void acceptor::take_new(int listener) {
  // As many as there are places; then each newcomer needs its own look at who has waited longest.
  do {
    unique_fd fd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) {
      if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
      // Out of descriptors or memory: the listener stays readable, so polling it would spin.
      paused_until_ = now() + 100ms;
      spdlog::warn("{}: cannot accept a connection: {}", endpoint_, fail_errno("accept").value().what);
      return;
    }
    if (pending_.size() >= options_.max_pending) {
      refuse(*pending_.front(), "others wait and it was the slowest");
      pending_.erase(pending_.begin());
    }
    const int on = 1;
    if (listener == listener_.get()) setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    auto p = std::make_unique<pending>();
    p->peer = to_string(remote_address(fd.get()));
    p->fd = std::move(fd);
    p->since = now();
    if (advance(*p) == step::wait) pending_.push_back(std::move(p));
  } while (pending_.size() < options_.max_pending);
}

/// Reads what has arrived, at most up to the end of the part that is expected.
acceptor::step acceptor::advance(pending& p) {
  for (;;) {
    const auto n = recv(p.fd.get(), p.buffer.data() + p.have, p.need - p.have, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return step::wait;
    if (n <= 0) return refuse(p, "it closed the connection before it proved the secret");
    p.have += static_cast<std::size_t>(n);
    if (p.have < p.need) continue;
    const auto next = p.expects == pending::part::opening ? read_first(p) : read_proof(p);
    if (next == step::done) return next;
  }
}

acceptor::step acceptor::read_first(pending& p) {
  const auto theirs = read_opening({p.buffer.data(), p.have});
  if (!theirs) return refuse(p, "it does not speak Hydrogen's protocol");
  const auto mine = make_opening();
  const auto bytes = write_opening(mine);
  // The first bytes on a fresh socket: they fit.
  if (send(p.fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size())) {
    return refuse(p, "it closed the connection before it proved the secret");
  }
  if (theirs->version != protocol_version) {
    return refuse(
        p,
        "its protocol version is " + std::to_string(theirs->version) + ", this is " + std::to_string(protocol_version),
        true);
  }
  p.ours = mine.challenge;
  p.theirs = theirs->challenge;
  p.expects = pending::part::claim;
  p.have = 0;
  p.need = claim_size;
  return step::wait;
}

acceptor::step acceptor::read_proof(pending& p) {
  const auto claimed = read_claim({p.buffer.data(), p.have});
  if (p.expects == pending::part::claim) {
    if (claimed.hello_size > max_hello_size) {
      return refuse(p, "it announces a hello of " + std::to_string(claimed.hello_size) + " bytes; the limit is " +
                           std::to_string(max_hello_size));
    }
    p.expects = pending::part::hello;
    p.need = claim_size + claimed.hello_size;
    if (claimed.hello_size != 0) return step::wait;
  }
  const byte_view said(p.buffer.data() + claim_size, claimed.hello_size);
  answer reply{verdict::wrong_secret, {}, {}};
  const bool proven = same_proof(claimed.by_dialler, prove_as_dialler(key_, p.theirs, p.ours, said));
  expected<hello> theirs = proven ? decode_hello(said) : expected<hello>(fail(errc::refused, "wrong secret"));
  if (proven) {
    reply.from = self_;
    if (!theirs)
      reply.says = verdict::bad_hello;
    else if (theirs->to && theirs->to != self_)
      reply.says = verdict::wrong_boot;
    else
      reply.says = verdict::welcome;
    reply.by_acceptor = prove_as_acceptor(key_, p.theirs, p.ours, said, reply.says, reply.from);
  }
  const auto bytes = write_answer(reply);
  const bool sent = send(p.fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  switch (reply.says) {
    case verdict::wrong_secret:
      return refuse(p, "it does not know the secret", true);
    case verdict::wrong_boot:
      return refuse(p,
                    name_of(*theirs) + " looks for process " + to_string(theirs->to) + ", this is " + to_string(self_));
    case verdict::bad_hello:
      return refuse(p, theirs.error().what, true);
    case verdict::welcome:
      break;
  }
  if (!sent) return refuse(p, "it closed the connection before it was welcome");
  accepted_.fetch_add(1, std::memory_order_relaxed);
  handler_(std::move(p.fd), std::move(*theirs));
  return step::done;
}

acceptor::step acceptor::refuse(pending& p, const std::string& why, bool warn) {
  refused_.fetch_add(1, std::memory_order_relaxed);
  // What a stranger causes must not fill the log: one warning a second.
  const auto t = now();
  if (warn && t - last_warning_ >= 1s) {
    last_warning_ = t;
    spdlog::warn("{}: refused a connection from {}: {}", endpoint_, p.peer, why);
  } else {
    spdlog::debug("{}: refused a connection from {}: {}", endpoint_, p.peer, why);
  }
  return step::done;
}

}  // namespace hydrogen::comm
