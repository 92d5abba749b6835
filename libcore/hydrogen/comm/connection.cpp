#include <hydrogen/comm/connection.hpp>
#include <hydrogen/comm/cork.hpp>
#include <hydrogen/comm/reactor_loop.hpp>

#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace hydrogen::comm {
namespace {

// Small frames that wait share a piece of the outbox up to this size.
constexpr std::size_t outbox_piece = 64 << 10;
constexpr std::size_t pieces_per_write = 16;
// More than this does not wait for a cork.
constexpr std::size_t most_corked = 256 << 10;

/// What waits for this thread's cork.
thread_local bool corked = false;
thread_local std::vector<connection_ptr> waiting;

}  // namespace

cork::cork() : outer_(!std::exchange(corked, true)) {}

cork::~cork() {
  if (!outer_) return;
  corked = false;
  for (auto& c : waiting) c->let_go();
  waiting.clear();
}

connection::connection(private_tag, unique_fd fd, hello peer, connection_handlers handlers, connection_options options,
                       std::shared_ptr<reactor_loop> loop)
    : peer_(std::move(peer)),
      options_(options),
      loop_(std::move(loop)),
      fd_(std::move(fd)),
      handlers_(std::move(handlers)) {}

bool connection::send(byte_view frame) {
  std::unique_lock lock(mutex_);
  if (!is_open()) return false;
  bool ended = false;
  if (frame.size() > options_.max_frame) {
    ended = end({errc::over_limit,
                 "a frame of " + std::to_string(frame.size()) + " bytes to " + name_of(peer_) + "; the limit is " +
                     std::to_string(options_.max_frame),
                 {},
                 {}},
                true);
  } else {
    ended = !write(frame_kind::data, frame);
  }
  lock.unlock();
  if (ended) loop_->ended(shared_from_this());
  return !ended;
}

void connection::close(error why) {
  finish(std::move(why), true);
}

std::size_t connection::queued() const {
  std::lock_guard lock(mutex_);
  return queued_;
}

void connection::finish(error why, bool graceful) {
  std::unique_lock lock(mutex_);
  if (!end(std::move(why), graceful)) return;
  lock.unlock();
  loop_->ended(shared_from_this());
}

void connection::send_small(frame_kind kind) {
  std::unique_lock lock(mutex_);
  if (!is_open() || write(kind, {})) return;
  lock.unlock();
  loop_->ended(shared_from_this());
}

/// Any thread: a byte has come that the reactor has not read yet.
bool connection::has_unread() {
  std::lock_guard lock(mutex_);
  int bytes = 0;
  return registered_ && ioctl(fd_.get(), FIONREAD, &bytes) == 0 && bytes > 0;
}

/// Sends what waited for a cork.
void connection::let_go() {
  {
    std::lock_guard lock(mutex_);
    if (!registered_ || wants_out_ || outbox_.empty() || flush()) return;
  }
  finish({errc::disconnected, "the connection to " + name_of(peer_) + " broke: " + std::strerror(errno), {}, {}},
         false);
}

/// From open to closed, once; the caller tells the loop. A graceful end says bye behind what is queued.
bool connection::end(error why, bool graceful) {
  if (!is_open()) return false;
  if (graceful) {
    error said = why;
    for (auto* text : {&said.what, &said.where, &said.hint}) {
      if (text->size() > 1024) text->resize(1024);
    }
    write(frame_kind::bye, encode(said));
  }
  reason_ = std::move(why);
  // The bye may have found the socket broken; then nothing is left to be sent.
  graceful_ = graceful && is_open();
  open_.store(false, std::memory_order_release);
  return true;
}

/// False when this ended the connection.
bool connection::write(frame_kind kind, byte_view body) {
  std::array<std::byte, header_size> header;
  const auto length = static_cast<std::uint32_t>(body.size());
  std::memcpy(header.data(), &length, 4);
  header[4] = static_cast<std::byte>(kind);

  if (outbox_.empty() && registered_ && !corked) {
    iovec parts[2] = {{header.data(), header.size()}, {const_cast<std::byte*>(body.data()), body.size()}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = body.empty() ? 1 : 2;
    ssize_t n = 0;
    do {
      n = sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN) return broke();
    const auto sent = n < 0 ? std::size_t{0} : static_cast<std::size_t>(n);
    if (sent == header.size() + body.size()) return true;
    if (sent < header.size()) {
      queue(byte_view(header).subspan(sent));
      queue(body);
    } else {
      queue(body.subspan(sent - header.size()));
    }
    watch_writable(true);
    return true;
  }
  if (kind == frame_kind::data && queued_ + header.size() + body.size() > options_.max_outbox) {
    return !end({errc::over_limit,
                 std::to_string(queued_ + body.size()) + " bytes wait for " + name_of(peer_) + "; the limit is " +
                     std::to_string(options_.max_outbox),
                 {},
                 "the peer does not keep up, or hangs"},
                false);
  }
  queue(header);
  queue(body);
  if (!registered_) {
    watch_writable(true);
  } else if (!wants_out_) {
    // Only a cork holds back what waits: that of this thread, else of another one, whose frames leave with this one.
    if (!corked || queued_ > most_corked) return flush() || broke();
    if (std::none_of(waiting.begin(), waiting.end(), [this](const auto& c) { return c.get() == this; })) {
      waiting.push_back(shared_from_this());
    }
  }
  return true;
}

/// The socket is of no use any more (errno says why): false, as this ended the connection.
bool connection::broke() {
  return !end({errc::disconnected, "the connection to " + name_of(peer_) + " broke: " + std::strerror(errno), {}, {}},
              false);
}

void connection::queue(byte_view bytes) {
  if (bytes.empty()) return;
  if (outbox_.empty() || outbox_.back().size() + bytes.size() > outbox_piece) outbox_.emplace_back();
  auto& last = outbox_.back();
  last.insert(last.end(), bytes.begin(), bytes.end());
  queued_ += bytes.size();
}

/// Writes what waits, as far as the system takes it. False when the socket is broken.
bool connection::flush() {
  while (!outbox_.empty()) {
    iovec parts[pieces_per_write];
    std::size_t count = 0;
    for (auto& piece : outbox_) {
      if (count == pieces_per_write) break;
      const std::size_t skip = count == 0 ? sent_of_first_ : 0;
      parts[count++] = {piece.data() + skip, piece.size() - skip};
    }
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = count;
    const auto n = sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) return false;
    queued_ -= static_cast<std::size_t>(n);
    sent_of_first_ += static_cast<std::size_t>(n);
    while (!outbox_.empty() && sent_of_first_ >= outbox_.front().size()) {
      sent_of_first_ -= outbox_.front().size();
      outbox_.pop_front();
    }
  }
  watch_writable(!outbox_.empty());
  return true;
}

void connection::watch_writable(bool on) {
  if (on == wants_out_) return;
  wants_out_ = on;
  if (!registered_) return;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP | (on ? EPOLLOUT : 0u);
  event.data.ptr = this;
  epoll_ctl(loop_->epoll(), EPOLL_CTL_MOD, fd_.get(), &event);
}

}  // namespace hydrogen::comm
