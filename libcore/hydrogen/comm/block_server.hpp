#pragma once
// Serves this process's blocks to block clients: one thread per block link (there are few peers), which writes large
// blocks straight from their memory. Owned by whoever owns the block store; any thread may call `accepted`. The
// acceptor that calls it must be gone before it.

#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/comm/block_link.hpp>
#include <hydrogen/comm/fd_wait.hpp>
#include <hydrogen/comm/hello.hpp>

#include <atomic>
#include <functional>
#include <list>
#include <mutex>
#include <thread>

namespace hydrogen::comm {

struct block_server_options {
  std::size_t max_links = 256;   // a further one is closed at once
  duration stall_timeout = 60s;  // a peer that takes no byte of what it granted for so long is dropped
};

class block_server {
 public:
  /// Finds a block, or says why not (errc::not_found when it is not here). Runs on link threads, several at a time; it
  /// may block (on a disk) but must not throw. The receiver gets its error.
  using lookup = std::function<expected<served_block>(const block_key&)>;

  /// Throws `failure` when no descriptor is left.
  explicit block_server(lookup find, block_server_options options = {});
  /// Closes all links, also in the middle of a block, and joins.
  ~block_server();
  block_server(const block_server&) = delete;

  /// Takes over a proven socket of purpose `block`.
  void accepted(unique_fd fd, hello peer);

  std::uint64_t bytes_served() const { return bytes_.load(std::memory_order_relaxed); }
  std::uint64_t blocks_served() const { return blocks_.load(std::memory_order_relaxed); }

 private:
  class link;
  struct running {
    std::thread thread;
    std::atomic<bool> over{false};
  };

  const lookup find_;
  const block_server_options options_;
  event_fd stop_;
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::uint64_t> blocks_{0};
  std::mutex mutex_;
  std::list<running> links_;
};

}  // namespace hydrogen::comm
