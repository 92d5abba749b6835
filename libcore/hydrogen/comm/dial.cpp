#include <hydrogen/comm/dial.hpp>
#include <hydrogen/comm/endpoint.hpp>
#include <hydrogen/comm/fd_wait.hpp>
#include <hydrogen/comm/handshake.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace hydrogen::comm {
namespace {

using namespace handshake;

/// One attempt: the socket, and what is needed to wait and to complain.
class attempt {
 public:
  attempt(const std::string& endpoint, time_point deadline, abort_word* abort)
      : endpoint_(endpoint), deadline_(deadline), waiter_(abort) {}

  expected<void> connect(route way) {
    auto address = parse_endpoint(endpoint_);
    if (!address) return unexpected(std::move(address.error()));
    if (way == route::nearest && address->is_loopback()) {
      const auto near = parse_endpoint(host_endpoint(to_string(*address)));
      if (near && connect_to(*near)) return {};
    }
    return connect_to(*address);
  }

  /// What the handshake sends is smaller than any socket buffer, but the buffer may still be filling.
  expected<void> send(byte_view bytes) {
    while (!bytes.empty()) {
      const auto n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n > 0) {
        bytes = bytes.subspan(static_cast<std::size_t>(n));
      } else if (errno == EAGAIN) {
        if (auto ready = wait(POLLOUT, "the handshake"); !ready) return ready;
      } else if (errno != EINTR) {
        // The peer may have said why before it closed; the next read tells.
        return {};
      }
    }
    return {};
  }

  /// All of `out`; false when the peer closed before that.
  expected<bool> receive(mutable_byte_view out) {
    while (!out.empty()) {
      const auto n = recv(fd_.get(), out.data(), out.size(), 0);
      if (n > 0) {
        out = out.subspan(static_cast<std::size_t>(n));
      } else if (n == 0) {
        return false;
      } else if (errno == EAGAIN) {
        if (auto ready = wait(POLLIN, "the handshake"); !ready) return unexpected(std::move(ready.error()));
      } else if (errno != EINTR) {
        return false;
      }
    }
    return true;
  }

  unexpected problem(errc code, std::string what, std::string hint = {}) const {
    return fail(code, std::move(what), endpoint_, std::move(hint));
  }
  unique_fd take() { return std::move(fd_); }

 private:
  expected<void> connect_to(const socket_address& address) {
    fd_.reset(socket(address.bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd_) return fail_errno("socket", endpoint_);
    const bool tcp = address.bytes.ss_family != AF_UNIX;
    const int on = 1;
    if (tcp) setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(fd_.get(), address.get(), address.size) != 0) {
      if (errno != EINPROGRESS && errno != EINTR) return unreachable(errno);
      if (auto ready = wait(POLLOUT, "connecting"); !ready) return ready;
      int code = 0;
      socklen_t size = sizeof code;
      getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &code, &size);
      if (code != 0) return unreachable(code);
    }
    // Two dialling ends of one free port can meet themselves on the same host.
    if (tcp && to_string(local_address(fd_.get())) == to_string(remote_address(fd_.get())))
      return unreachable(ECONNREFUSED);
    return {};
  }

  expected<void> wait(short events, const char* doing) {
    auto came = waiter_.wait(fd_.get(), events, deadline_);
    if (!came) return unexpected(std::move(came.error()));
    if (*came == 0)
      return problem(errc::timed_out, std::string("no answer in time (") + doing + ')', "does that process hang?");
    return {};
  }

  unexpected unreachable(int code) const {
    if (code == ECONNREFUSED) {
      return problem(errc::disconnected, "nobody listens there: connection refused", "is that process still running?");
    }
    return problem(errc::disconnected, std::string("cannot be reached: ") + std::strerror(code));
  }

  const std::string& endpoint_;
  time_point deadline_;
  fd_waiter waiter_;
  unique_fd fd_;
};

}  // namespace

expected<dialled> dial_peer(const std::string& endpoint, const secret& key, const hello& mine, time_point deadline,
                            abort_word* abort, route way) {
  auto said = encode_hello(mine);
  if (!said) return unexpected(std::move(said.error()));
  attempt to(endpoint, deadline, abort);
  if (auto done = to.connect(way); !done) return unexpected(std::move(done.error()));

  const auto ours = make_opening();
  if (auto done = to.send(write_opening(ours)); !done) return unexpected(std::move(done.error()));
  opening_bytes first;
  auto whole = to.receive(first);
  if (!whole) return unexpected(std::move(whole.error()));
  if (!*whole) {
    return to.problem(errc::disconnected, "the listener closed the connection before it answered",
                      "it is ending, has too many connections waiting, or is not a Hydrogen process");
  }
  const auto theirs = read_opening(first);
  if (!theirs) return to.problem(errc::mismatch, "what listens there does not speak Hydrogen's protocol");
  if (theirs->version != protocol_version) {
    return to.problem(
        errc::mismatch,
        "other protocol version " + std::to_string(theirs->version) + ", this is " + std::to_string(protocol_version),
        "use the same version of Hydrogen on every node");
  }

  const auto proof = prove_as_dialler(key, ours.challenge, theirs->challenge, *said);
  if (auto done = to.send(write_claim(proof, *said)); !done) return unexpected(std::move(done.error()));
  answer_bytes last;
  whole = to.receive(last);
  if (!whole) return unexpected(std::move(whole.error()));
  constexpr auto secret_hint = "every node of a cluster needs the same secret file";
  if (!*whole) {
    return to.problem(errc::refused,
                      "the listener closed the connection after this side's proof: probably a wrong secret",
                      secret_hint);
  }
  const auto reply = read_answer(last);
  if (reply.says == verdict::wrong_secret) return to.problem(errc::refused, "wrong secret", secret_hint);
  if (!same_proof(reply.by_acceptor,
                  prove_as_acceptor(key, ours.challenge, theirs->challenge, *said, reply.says, reply.from))) {
    return to.problem(errc::refused, "the listener did not prove the secret", secret_hint);
  }
  switch (reply.says) {
    case verdict::welcome:
      break;
    case verdict::wrong_boot:
      return to.problem(errc::disconnected, "that process (" + to_string(mine.to) + ") is gone: another one (" +
                                                to_string(reply.from) + ") listens there");
    default:
      return to.problem(errc::mismatch, "the listener did not understand this side's hello",
                        "are both sides of one build?");
  }
  return dialled{to.take(), reply.from};
}

expected<unique_fd> dial(const std::string& endpoint, const secret& key, const hello& mine, time_point deadline,
                         abort_word* abort, route way) {
  auto made = dial_peer(endpoint, key, mine, deadline, abort, way);
  if (!made) return unexpected(std::move(made.error()));
  return std::move(made->fd);
}

}  // namespace hydrogen::comm
