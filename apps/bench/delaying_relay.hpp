#pragma once
// A wire of a given length between processes of one machine: TCP connections go through it, and every byte comes out a
// time after it has gone in. For machines whose kernel has no netem. One thread of its own; it costs the CPU two
// copies.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/unique_fd.hpp>

#include <atomic>
#include <string>
#include <thread>

namespace hydrogen::bench {

class delaying_relay {
 public:
  /// To `target`, "127.0.0.1:PORT", and to its unix socket (comm::host_endpoint). Throws `failure`.
  delaying_relay(const std::string& target, duration delay);
  ~delaying_relay();
  delaying_relay(const delaying_relay&) = delete;
  /// Where it listens, as `target`.
  const std::string& endpoint() const { return endpoint_; }

 private:
  void serve();

  std::string target_;
  duration delay_;
  std::string endpoint_;
  unique_fd listeners_[2];  // TCP, unix
  std::atomic<bool> stops_{false};
  std::thread thread_;
};

}  // namespace hydrogen::bench
