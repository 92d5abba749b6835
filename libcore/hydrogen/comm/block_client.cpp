#include <hydrogen/base/hash.hpp>
#include <hydrogen/comm/block_client.hpp>
#include <hydrogen/comm/dial.hpp>
#include <hydrogen/comm/fd_wait.hpp>

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace hydrogen::comm {
namespace {

using namespace block_wire;

constexpr std::size_t buffer_size = 64 << 10;
// Large blocks get huge pages where the system gives them: the first touch of small pages costs as much as the copy.
constexpr std::size_t huge_page = 2 << 20;

std::shared_ptr<std::byte> allocate(std::uint64_t size) {
  if (size == 0) return nullptr;
  const bool large = size >= 2 * huge_page;
  const std::size_t alignment = large ? huge_page : 64;
  const std::size_t whole = (size + alignment - 1) / alignment * alignment;
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(alignment, whole));
  if (memory == nullptr) return nullptr;
  if (large) madvise(memory, whole, MADV_HUGEPAGE);
  return {memory, [](std::byte* p) { std::free(p); }};
}

}  // namespace

/// One connection: used by one fetch at a time.
class block_client::link {
 public:
  link(unique_fd fd, std::string endpoint) : fd_(std::move(fd)), endpoint_(std::move(endpoint)), in_(buffer_size) {}

  /// Idle and still connected, as far as one can see.
  bool is_alive() const {
    std::byte b;
    return at_ == have_ && recv(fd_.get(), &b, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
  }

  /// Whether a byte has arrived during this fetch.
  bool heard() const { return heard_; }

  expected<void> fetch(std::span<const block_key> keys, const sink& take, abort_word* abort, duration idle,
                       const block_client_options& options) {
    fd_waiter waiter(abort);
    waiter_ = &waiter;
    idle_ = idle;
    heard_ = false;
    std::size_t asked = 0;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      // Half a window at a time, so that requests travel in batches.
      if (asked - i <= max_outstanding / 2) {
        for (; asked < keys.size() && asked - i < max_outstanding; ++asked) {
          ask({ask::fetch, {}, static_cast<std::uint32_t>(asked), 0, keys[asked]});
        }
      }
      if (credit_ < options.window - options.window / 4) grant(options.window - credit_);
      if (abort != nullptr && abort->is_set()) return unexpected(abort->reason());

      auto block = receive(i, keys, options);
      if (!block) return unexpected(std::move(block.error()));
      // Consumed only after the sink is done with it: then the next grant renews it.
      if (auto taken = take(i, std::move(*block)); !taken) return taken;
    }
    waiter_ = nullptr;
    return {};
  }

 private:
  unexpected problem(errc code, std::string what, std::string hint = {}) const {
    return fail(code, std::move(what), endpoint_, std::move(hint));
  }
  unexpected gone() const {
    return problem(errc::disconnected, "the process that holds the blocks closed the connection");
  }

  void ask(const request& r) {
    const auto* bytes = reinterpret_cast<const std::byte*>(&r);
    out_.insert(out_.end(), bytes, bytes + sizeof r);
  }
  void grant(std::uint64_t amount) {
    ask({ask::grant, {}, 0, amount, {}});
    credit_ += amount;
  }

  expected<fetched_block> receive(std::size_t index, std::span<const block_key> keys,
                                  const block_client_options& options) {
    const auto name = "block " + std::to_string(index) + " of " + std::to_string(keys.size());
    head h;
    hash_.restart();
    if (auto done = read(reinterpret_cast<std::byte*>(&h), sizeof h, true); !done)
      return unexpected(std::move(done.error()));
    if (h.index != static_cast<std::uint32_t>(index) || h.failed > 1 || (h.failed != 0 && h.size > max_error)) {
      return problem(errc::io, "the answer to " + name + " is damaged");
    }
    if (h.size > options.max_block) {
      return problem(errc::over_limit, name + " has " + std::to_string(h.size) + " bytes; the limit is " +
                                           std::to_string(options.max_block));
    }
    fetched_block block;
    block.size = h.size;
    block.rows = h.rows;
    block.type_code = h.type_code;
    block.layout = h.layout;
    block.extra = h.extra;
    block.memory = allocate(h.size);
    if (h.size != 0 && !block.memory) {
      return problem(errc::over_limit, "there is no memory for " + name + ", " + std::to_string(h.size) + " bytes");
    }
    if (h.failed == 0) {
      if (h.size > credit_) grant(h.size - credit_);
      credit_ -= h.size;
    }
    if (auto done = read(block.memory.get(), h.size, true); !done) return unexpected(std::move(done.error()));
    const checksum computed = hash_.value();
    checksum sent = 0;
    if (auto done = read(reinterpret_cast<std::byte*>(&sent), sizeof sent, false); !done)
      return unexpected(std::move(done.error()));
    if (computed != sent) return problem(errc::io, name + " arrived damaged: its checksum does not match");
    if (h.failed == 0) return block;

    auto why = decode<error>(block.bytes(), "error");
    if (!why) return unexpected(std::move(why.error()));
    return problem(why->code == errc::none ? errc::internal : why->code,
                   name + " (" + to_string(keys[index]).substr(0, 16) + "...): " + why->message());
  }

  /// Exactly `size` bytes: first what the buffer has, then straight into place, with what follows going to the buffer.
  expected<void> read(std::byte* to, std::size_t size, bool hashed) {
    while (size != 0) {
      std::size_t got = 0;
      if (at_ < have_) {
        got = std::min(size, have_ - at_);
        std::memcpy(to, in_.data() + at_, got);
        at_ += got;
      } else {
        if (!out_.empty()) {
          if (auto done = flush(); !done) return done;
        }
        const auto direct = std::min(size, piece);
        iovec parts[2] = {{to, direct}, {in_.data(), in_.size()}};
        msghdr message{};
        message.msg_iov = parts;
        message.msg_iovlen = direct == size ? 2 : 1;
        const auto n = recvmsg(fd_.get(), &message, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno == ECONNRESET)) return gone();
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno != EAGAIN) return fail_errno("receive", endpoint_);
        if (n < 0) {
          if (auto done = wait(); !done) return done;
          continue;
        }
        heard_ = true;
        got = std::min(static_cast<std::size_t>(n), direct);
        at_ = 0;
        have_ = static_cast<std::size_t>(n) - got;
      }
      if (hashed) hash_.add(to, got);
      to += got;
      size -= got;
    }
    return {};
  }

  /// Until there is something to read, or room for requests that could not be sent yet.
  expected<void> wait() {
    const auto events = static_cast<short>(POLLIN | (out_.empty() ? 0 : POLLOUT));
    auto came = waiter_->wait(fd_.get(), events, now() + idle_);
    if (!came) return unexpected(std::move(came.error()));
    if (*came != 0) return {};
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(idle_).count();
    return problem(errc::timed_out, "no byte of a block for " + std::to_string(ms) + " ms",
                   "does the process that holds it hang?");
  }

  expected<void> flush() {
    const auto n = send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) out_.erase(out_.begin(), out_.begin() + n);
    if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) return gone();
    if (n < 0 && errno != EAGAIN && errno != EINTR) return fail_errno("send", endpoint_);
    return {};
  }

  unique_fd fd_;
  std::string endpoint_;
  fd_waiter* waiter_ = nullptr;
  duration idle_{};
  bool heard_ = false;
  std::uint64_t credit_ = 0;  // granted and not announced by a head yet
  byte_buffer out_;
  std::vector<std::byte> in_;
  std::size_t at_ = 0;
  std::size_t have_ = 0;
  hash_stream hash_;
};

block_client::block_client(const secret& key, boot_id self, block_client_options options)
    : key_(key), self_(self), options_(std::move(options)) {}

block_client::~block_client() = default;

std::unique_ptr<block_client::link> block_client::take_idle(const pool_key& at) {
  std::lock_guard lock(mutex_);
  const auto found = idle_.find(at);
  if (found == idle_.end()) return nullptr;
  auto& links = found->second;
  while (!links.empty()) {
    auto l = std::move(links.back());
    links.pop_back();
    if (l->is_alive()) return l;
  }
  idle_.erase(found);
  return nullptr;
}

void block_client::put_back(const pool_key& at, std::unique_ptr<link> l) {
  std::lock_guard lock(mutex_);
  auto& links = idle_[at];
  if (links.size() < options_.idle_links) links.push_back(std::move(l));
}

void block_client::forget(boot_id peer) {
  std::lock_guard lock(mutex_);
  std::erase_if(idle_, [&](const auto& entry) { return entry.first.first == peer; });
}

expected<void> block_client::fetch(const std::string& endpoint, boot_id peer, std::span<const block_key> keys,
                                   const sink& take, abort_word* abort, duration idle) {
  if (keys.empty()) return {};
  const pool_key at{peer, endpoint};
  for (;;) {
    auto l = take_idle(at);
    const bool reused = l != nullptr;
    if (!reused) {
      const hello mine{link_purpose::block, self_, peer, options_.who, {}, options_.token};
      auto fd = dial(endpoint, key_, mine, now() + idle, abort, route::nearest);
      if (!fd) return unexpected(std::move(fd.error()));
      l = std::make_unique<link>(std::move(*fd), endpoint);
    }
    auto done = l->fetch(keys, take, abort, idle, options_);
    if (done) {
      put_back(at, std::move(l));
      return done;
    }
    // The peer closed an idle connection just before this used it: nothing is lost, a fresh one tells more.
    if (!reused || l->heard() || done.error().code != errc::disconnected) return done;
    forget(peer);
  }
}

expected<std::vector<fetched_block>> block_client::fetch(const std::string& endpoint, boot_id peer,
                                                         std::span<const block_key> keys, abort_word* abort,
                                                         duration idle) {
  std::vector<fetched_block> all(keys.size());
  auto done = fetch(
      endpoint, peer, keys,
      [&](std::size_t index, fetched_block block) -> expected<void> {
        all[index] = std::move(block);
        return {};
      },
      abort, idle);
  if (!done) return unexpected(std::move(done.error()));
  return all;
}

}  // namespace hydrogen::comm
