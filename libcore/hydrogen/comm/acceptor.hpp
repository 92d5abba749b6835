#pragma once
// The one listener of a process: at a TCP address, and at the unix socket of this host that belongs to it
// (`host_endpoint`), over which descriptors can be handed. A thread of its own accepts, checks the proof of the secret
// (handshake.hpp) and hands proven sockets over. Strangers cost little: a bounded number of sockets wait at a time,
// each with a buffer of fixed size and a deadline; what they announce is never allocated; when all places are taken,
// the one that has waited longest makes room, so that silent or dripping connections keep nobody out.
//
// Only loopback addresses: the proof is made once, and nothing is encrypted afterwards.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/comm/fd_wait.hpp>
#include <hydrogen/comm/hello.hpp>
#include <hydrogen/comm/secret.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace hydrogen::comm {

struct acceptor_options {
  std::size_t max_pending = 64;     // sockets that have not proven the secret yet
  duration handshake_timeout = 2s;  // for the whole handshake of one socket
  duration least_time = 100ms;      // nobody is pushed out by a newcomer before that
};

class acceptor {
 public:
  /// Gets the socket (non-blocking; TCP_NODELAY, or a unix socket) and what the peer said. Runs on the acceptor's
  /// thread: it must not block, throw, or destroy the acceptor.
  using accept_handler = std::function<void(unique_fd, hello)>;

  /// Listens on `address`, "127.0.0.1:0" for a port that the system chooses. `self` is this process: hellos for others
  /// are refused. errc::refused: the port is in use, or the address is not loopback.
  static expected<std::unique_ptr<acceptor>> listen(const std::string& address, const secret& key, boot_id self,
                                                    accept_handler handler, acceptor_options options = {});
  /// Stops listening and joins the thread.
  ~acceptor();
  acceptor(const acceptor&) = delete;
  acceptor& operator=(const acceptor&) = delete;

  /// Where it listens, with the port: "127.0.0.1:43117".
  const std::string& endpoint() const { return endpoint_; }

  /// Handed over, and turned away (no proof, a wrong one, another version, another boot, too slow, pushed out).
  std::uint64_t accepted() const { return accepted_.load(std::memory_order_relaxed); }
  std::uint64_t refused() const { return refused_.load(std::memory_order_relaxed); }

 private:
  struct pending;
  enum class step { wait, done };

  acceptor(unique_fd listener, unique_fd host_listener, std::string endpoint, const secret& key, boot_id self,
           accept_handler handler, acceptor_options options);
  void run();
  void take_new(int listener);
  step advance(pending& p);
  step read_first(pending& p);
  step read_proof(pending& p);
  step refuse(pending& p, const std::string& why, bool warn = false);

  unique_fd listener_;
  unique_fd host_listener_;
  std::string endpoint_;
  secret key_;
  boot_id self_;
  accept_handler handler_;
  acceptor_options options_;
  event_fd stop_;
  std::vector<std::unique_ptr<pending>> pending_;  // oldest first
  time_point paused_until_{};                      // out of descriptors
  time_point last_warning_{};
  std::atomic<std::uint64_t> accepted_{0};
  std::atomic<std::uint64_t> refused_{0};
  std::thread thread_;
};

}  // namespace hydrogen::comm
