#pragma once
// Fetches blocks from other processes. Keeps connections per peer and reuses them; a fetch has one for itself, so any
// number of slot threads may fetch at a time. Blocking; ends when no byte arrives for `idle`, or when the abort word is
// set. The bytes of each block are checked against the checksum that came with it.
//
// Errors; `where` is the endpoint:
//   not_found     the peer does not have a block; the message has its index among the keys
//   disconnected  the peer is dead, or another process has its place
//   timed_out     no byte for `idle`
//   io            a block arrived damaged
//   over_limit    a block is larger than `max_block`, or memory is out
//   the abort word's reason; the sink's error; the errors of `dial`

#include <hydrogen/base/abort.hpp>
#include <hydrogen/base/clock.hpp>
#include <hydrogen/base/ids.hpp>
#include <hydrogen/comm/block_link.hpp>
#include <hydrogen/comm/secret.hpp>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace hydrogen::comm {

struct block_client_options {
  std::string who;                                 // in the hello, for the peer's messages
  byte_buffer token;                               // in the hello
  std::uint64_t window = std::uint64_t{16} << 20;  // bytes granted and not consumed; a larger block is granted whole
  std::uint64_t max_block = std::uint64_t{64} << 30;
  std::size_t idle_links = 4;  // kept per peer
};

class block_client {
 public:
  /// Gets each block in the order of the keys, on the calling thread, while more is on its way. An error ends the
  /// fetch.
  using sink = std::function<expected<void>(std::size_t index, fetched_block block)>;

  block_client(const secret& key, boot_id self, block_client_options options = {});
  /// No fetch may be under way.
  ~block_client();
  block_client(const block_client&) = delete;

  expected<void> fetch(const std::string& endpoint, boot_id peer, std::span<const block_key> keys, const sink& take,
                       abort_word* abort, duration idle);
  /// All of them at once.
  expected<std::vector<fetched_block>> fetch(const std::string& endpoint, boot_id peer, std::span<const block_key> keys,
                                             abort_word* abort, duration idle);

  /// Closes the idle connections to a process that is gone.
  void forget(boot_id peer);

 private:
  class link;
  using pool_key = std::pair<boot_id, std::string>;

  std::unique_ptr<link> take_idle(const pool_key& at);
  void put_back(const pool_key& at, std::unique_ptr<link> l);

  const secret key_;
  const boot_id self_;
  const block_client_options options_;
  std::mutex mutex_;
  std::map<pool_key, std::vector<std::unique_ptr<link>>> idle_;
};

}  // namespace hydrogen::comm
