#include <hydrogen/base/hash.hpp>
#include <hydrogen/base/log.hpp>
#include <hydrogen/comm/block_server.hpp>

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>

namespace hydrogen::comm {
namespace {

using namespace block_wire;

// Smaller blocks are copied together, so that many of them cost one system call.
constexpr std::size_t copied_up_to = 16 << 10;
constexpr std::size_t staging_target = 64 << 10;
// Above any sensible window; a sum of grants can never overflow.
constexpr std::uint64_t max_credit = std::uint64_t{1} << 62;

}  // namespace

std::string to_string(const block_key& key) {
  std::string text;
  for (const auto b : key) {
    text += "0123456789abcdef"[std::to_integer<unsigned>(b) >> 4];
    text += "0123456789abcdef"[std::to_integer<unsigned>(b) & 15];
  }
  return text;
}

/// One peer; lives on its thread.
class block_server::link {
 public:
  link(block_server& server, unique_fd fd, const hello& peer)
      : server_(server), fd_(std::move(fd)), peer_(name_of(peer)) {}

  void run() {
    time_point moved = now();
    for (;;) {
      if (!read_requests()) return;
      const auto before = sent_;
      if (!write()) return;
      if (sent_ != before) moved = now();

      const bool blocked = wants_to_write();
      if (!blocked) moved = now();
      pollfd set[2] = {{fd_.get(), static_cast<short>(POLLIN | (blocked ? POLLOUT : 0)), 0},
                       {server_.stop_.get(), POLLIN, 0}};
      const poll_timeout left(blocked ? moved + server_.options_.stall_timeout : never);
      const int n = ppoll(set, 2, left.get(), nullptr);
      if (n < 0 && errno != EINTR) return;
      if (set[1].revents != 0) return;
      if (n == 0 && now() >= moved + server_.options_.stall_timeout) {
        spdlog::warn("block link: {} takes no bytes; dropped", peer_);
        return;
      }
    }
  }

 private:
  /// Takes what has arrived. False when the peer is gone or does not keep to the protocol.
  bool read_requests() {
    for (;;) {
      const auto n = recv(fd_.get(), in_.data() + have_, in_.size() - have_, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return errno == EAGAIN;
      if (n == 0) return false;
      have_ += static_cast<std::size_t>(n);
      std::size_t at = 0;
      for (; have_ - at >= sizeof(request); at += sizeof(request)) {
        request r;
        std::memcpy(&r, in_.data() + at, sizeof r);
        if (!take(r)) {
          spdlog::warn("block link: {} does not keep to the protocol; dropped", peer_);
          return false;
        }
      }
      std::memmove(in_.data(), in_.data() + at, have_ - at);
      have_ -= at;
    }
  }

  bool take(const request& r) {
    if (r.what == ask::fetch) {
      waiting_.push_back(r);
      return waiting_.size() <= max_outstanding;
    }
    if (r.what != ask::grant || r.amount > max_credit - credit_) return false;
    credit_ += r.amount;
    return true;
  }

  bool wants_to_write() const {
    return staged_at_ < staged_.size() || (current_ && (at_ == current_->bytes.size() || credit_ > 0));
  }

  /// Sends until the socket is full, the credit is used up, or nothing is asked for. False when the peer is gone.
  bool write() {
    for (;;) {
      while (!current_ && !waiting_.empty() && staged_.size() - staged_at_ < staging_target) stage_next();
      if (!wants_to_write()) return true;

      iovec parts[3];
      int count = 0;
      const auto staged = staged_.size() - staged_at_;
      if (staged != 0) parts[count++] = {staged_.data() + staged_at_, staged};
      std::size_t bytes = 0;
      std::size_t tail = 0;
      if (current_) {
        const auto left = current_->bytes.size() - at_;
        bytes = static_cast<std::size_t>(std::min<std::uint64_t>({left, credit_, piece}));
        if (bytes != 0) parts[count++] = {const_cast<std::byte*>(current_->bytes.data()) + at_, bytes};
        if (at_ + bytes > hashed_) {
          hash_.add(current_->bytes.data() + hashed_, at_ + bytes - hashed_);
          hashed_ = at_ + bytes;
        }
        if (bytes == left) {
          // The end of the block may be sent in part: the rest of the checksum is kept as staged bytes.
          tail_ = hash_.value();
          tail = sizeof tail_;
          parts[count++] = {&tail_, tail};
        }
      }
      msghdr message{};
      message.msg_iov = parts;
      message.msg_iovlen = static_cast<std::size_t>(count);
      const auto n = sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return errno == EAGAIN;
      account(static_cast<std::size_t>(n), staged, bytes, tail);
    }
  }

  void account(std::size_t n, std::size_t staged, std::size_t bytes, std::size_t tail) {
    sent_ += n;
    const auto first = std::min(n, staged);
    staged_at_ += first;
    if (staged_at_ == staged_.size()) {
      staged_.clear();
      staged_at_ = 0;
    }
    n -= first;
    const auto second = std::min(n, bytes);
    at_ += second;
    credit_ -= second;
    server_.bytes_.fetch_add(second, std::memory_order_relaxed);
    n -= second;
    // The tail is reached only when all before it was sent.
    if (tail == 0 || staged_at_ != 0 || second != bytes) return;
    const auto* rest = reinterpret_cast<const std::byte*>(&tail_);
    staged_.assign(rest + n, rest + tail);
    current_.reset();
    server_.blocks_.fetch_add(1, std::memory_order_relaxed);
  }

  /// Answers the next request: small ones wholly in the staging buffer, of large ones only the head.
  void stage_next() {
    const auto r = waiting_.front();
    waiting_.pop_front();
    auto found = server_.find_(r.key);
    head h;
    h.index = r.index;
    byte_buffer said;
    if (!found) {
      auto why = std::move(found.error());
      for (auto* text : {&why.what, &why.where, &why.hint}) text->resize(std::min<std::size_t>(text->size(), 4096));
      said = encode(why);
      found = served_block{nullptr, said, 0, 0, 0, 0};
      h.failed = 1;
    }
    h.size = found->bytes.size();
    h.rows = found->rows;
    h.type_code = found->type_code;
    h.layout = found->layout;
    h.extra = found->extra;
    stage(&h, sizeof h);
    hash_.restart();
    hash_.add(&h, sizeof h);

    const auto size = found->bytes.size();
    if (h.failed == 0 && (size > copied_up_to || size > credit_)) {
      current_ = std::move(*found);
      at_ = hashed_ = 0;
      return;
    }
    hash_.add(found->bytes.data(), size);
    stage(found->bytes.data(), size);
    const checksum sum = hash_.value();
    stage(&sum, sizeof sum);
    if (h.failed != 0) return;
    credit_ -= size;
    server_.bytes_.fetch_add(size, std::memory_order_relaxed);
    server_.blocks_.fetch_add(1, std::memory_order_relaxed);
  }

  void stage(const void* data, std::size_t size) {
    const auto* bytes = static_cast<const std::byte*>(data);
    staged_.insert(staged_.end(), bytes, bytes + size);
  }

  block_server& server_;
  unique_fd fd_;
  std::string peer_;
  std::array<std::byte, 64 * sizeof(request)> in_;
  std::size_t have_ = 0;
  std::deque<request> waiting_;
  std::uint64_t credit_ = 0;
  std::uint64_t sent_ = 0;
  byte_buffer staged_;         // goes out before the current block's bytes
  std::size_t staged_at_ = 0;  // sent of it
  std::optional<served_block> current_;
  std::size_t at_ = 0;      // sent of the current block
  std::size_t hashed_ = 0;  // hashed of it
  checksum tail_ = 0;
  hash_stream hash_;
};

block_server::block_server(lookup find, block_server_options options) : find_(std::move(find)), options_(options) {
  if (!stop_)
    throw failure(
        fail(errc::io, "no file descriptor is left to serve blocks", {}, "raise the limit: ulimit -n").value());
}

block_server::~block_server() {
  stop_.set();
  for (auto& l : links_) l.thread.join();
}

void block_server::accepted(unique_fd fd, hello peer) {
  std::lock_guard lock(mutex_);
  for (auto l = links_.begin(); l != links_.end();) {
    if (!l->over.load(std::memory_order_acquire)) {
      ++l;
      continue;
    }
    l->thread.join();
    l = links_.erase(l);
  }
  if (links_.size() >= options_.max_links) {
    spdlog::warn("block link: {} refused, {} links are open", name_of(peer), links_.size());
    return;
  }
  auto& l = links_.emplace_back();
  l.thread = std::thread([this, &l, fd = std::move(fd), peer = std::move(peer)]() mutable {
    pthread_setname_np(pthread_self(), "hy-blocks");
    link(*this, std::move(fd), peer).run();
    l.over.store(true, std::memory_order_release);
  });
}

}  // namespace hydrogen::comm
