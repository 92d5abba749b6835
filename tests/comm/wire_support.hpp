#pragma once
// For the tests of proven connections: raw sockets with a time limit, boxes to wait for what other threads bring, and
// children that are this same test program with one named case.

#include <hydrogen/base/random.hpp>
#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/comm/acceptor.hpp>
#include <hydrogen/comm/endpoint.hpp>
#include <hydrogen/comm/handshake.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

extern char** environ;

namespace hydrogen::comm::test {

/// Nothing in a test takes this long unless it hangs.
inline constexpr duration ample = 60s;

/// Values that other threads put in; `take` gives nothing after an ample time.
template <class T>
class box {
 public:
  void put(T x) {
    std::lock_guard lock(mutex_);
    values_.push_back(std::move(x));
    changed_.notify_all();
  }
  std::optional<T> take() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, ample, [&] { return !values_.empty(); })) return std::nullopt;
    auto x = std::move(values_.front());
    values_.pop_front();
    return x;
  }
  std::size_t size() const {
    std::lock_guard lock(mutex_);
    return values_.size();
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<T> values_;
};

/// A blocking socket whose reads and writes give up after an ample time.
class raw_socket {
 public:
  raw_socket() = default;
  explicit raw_socket(unique_fd fd) : fd_(std::move(fd)) {
    fcntl(fd_.get(), F_SETFL, fcntl(fd_.get(), F_GETFL) & ~O_NONBLOCK);
    const timeval limit{std::chrono::duration_cast<std::chrono::seconds>(ample).count(), 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }
  static raw_socket connect(const std::string& endpoint) {
    const auto at = parse_endpoint(endpoint).value();
    unique_fd fd(socket(at.bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(fd.get(), at.get(), at.size) == 0);
    return raw_socket(std::move(fd));
  }
  bool write(byte_view bytes) {
    while (!bytes.empty()) {
      const auto n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
    return true;
  }
  /// What came until `size` bytes or the end.
  byte_buffer read(std::size_t size) {
    byte_buffer out(size);
    std::size_t have = 0;
    while (have < size) {
      const auto n = recv(fd_.get(), out.data() + have, size - have, 0);
      if (n <= 0) break;
      have += static_cast<std::size_t>(n);
    }
    out.resize(have);
    return out;
  }
  /// True when the other side closed (or reset) and did not say anything more.
  bool at_end() {
    std::byte b;
    const auto n = recv(fd_.get(), &b, 1, 0);
    return n == 0 || (n < 0 && errno == ECONNRESET);
  }
  /// Takes whatever comes until the other side closes; false when it does not.
  bool read_to_end() {
    std::array<std::byte, 4096> some;
    for (;;) {
      const auto n = recv(fd_.get(), some.data(), some.size(), 0);
      if (n <= 0) return n == 0 || errno == ECONNRESET;
    }
  }
  void close() { fd_.reset(); }
  int get() const { return fd_.get(); }
  unique_fd take() { return std::move(fd_); }

 private:
  unique_fd fd_;
};

/// Listens without any protocol of its own.
class raw_listener {
 public:
  raw_listener() {
    const auto at = parse_endpoint("127.0.0.1:0").value();
    fd_.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(bind(fd_.get(), at.get(), at.size) == 0);
    REQUIRE(listen(fd_.get(), 16) == 0);
    endpoint_ = to_string(local_address(fd_.get()));
  }
  const std::string& endpoint() const { return endpoint_; }
  /// Whether somebody has connected and was not accepted yet.
  bool has_waiting() const {
    pollfd readable{fd_.get(), POLLIN, 0};
    return poll(&readable, 1, 0) == 1;
  }
  raw_socket accept() { return raw_socket(unique_fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC))); }

 private:
  unique_fd fd_;
  std::string endpoint_;
};

struct fd_pair {
  unique_fd a;
  unique_fd b;
};
inline fd_pair unix_pair() {
  int fds[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  return {unique_fd(fds[0]), unique_fd(fds[1])};
}

inline byte_buffer random_bytes(random_source& random, std::size_t size) {
  byte_buffer out(size);
  std::size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    const auto word = random();
    std::memcpy(out.data() + i, &word, 8);
  }
  for (; i < size; ++i) out[i] = static_cast<std::byte>(random());
  return out;
}

/// HYDROGEN_SEED, or a fixed one.
inline std::uint64_t seed() {
  const char* text = std::getenv("HYDROGEN_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 20240607;
}

/// A process of this program that runs one (otherwise skipped) case; killed with the object.
class child {
 public:
  child(const std::string& test_case, const std::vector<std::pair<std::string, std::string>>& settings) {
    std::vector<std::string> words;
    for (char** e = environ; *e != nullptr; ++e) words.emplace_back(*e);
    for (const auto& [name, value] : settings) words.push_back(name + '=' + value);
    std::vector<char*> environment;
    for (auto& w : words) environment.push_back(w.data());
    environment.push_back(nullptr);
    std::string program = "/proc/self/exe";
    std::string which = "--test-case=" + test_case;
    std::string all = "--no-skip";
    char* arguments[] = {program.data(), which.data(), all.data(), nullptr};
    REQUIRE(posix_spawn(&pid_, program.c_str(), nullptr, nullptr, arguments, environment.data()) == 0);
  }
  ~child() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }
  child(const child&) = delete;
  void signal(int number) { kill(pid_, number); }

 private:
  pid_t pid_ = -1;
};

inline std::string setting(const char* name) {
  const char* text = std::getenv(name);
  return text != nullptr ? text : "";
}

inline hello from_process(const std::string& who, link_purpose purpose = link_purpose::control) {
  return {purpose, make_boot_id(), {}, who, {}, {}};
}

}  // namespace hydrogen::comm::test
