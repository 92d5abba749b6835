#include <hydrogen/comm/tcp/link.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace hydrogen::comm::tcp {
namespace {

constexpr std::byte zeros[8] = {};

bool gone(int code) {
  return code == EPIPE || code == ECONNRESET || code == ENOTCONN || code == ETIMEDOUT || code == ECONNABORTED;
}

unexpected disconnected() {
  return fail(errc::disconnected, "the connection is closed");
}

}  // namespace

link::link(unique_fd socket)
    : socket_(std::move(socket)), staging_(std::make_unique_for_overwrite<std::byte[]>(staging_size)) {
  const int flags = ::fcntl(socket_.get(), F_GETFL);
  if (flags >= 0 && (flags & O_NONBLOCK) == 0) ::fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK);
  // A wish: the system may give less, which only costs speed.
  const int wanted = 4 << 20;
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &wanted, sizeof wanted);
}

void link::insert(outgoing frame, bool first) {
  frame.first = first;
  if (!first || out_.empty()) {
    out_.push_back(std::move(frame));
    return;
  }
  // Behind the frame that is partly sent and behind earlier frames of this kind.
  auto at = out_.begin();
  if (front_sent_ != 0) ++at;
  while (at != out_.end() && at->first) ++at;
  out_.insert(at, std::move(frame));
}

void link::send(const frame_header& header, byte_view payload, bool first) {
  outgoing frame;
  encode_frame(header, frame.prefix);
  frame.payload = payload;
  insert(std::move(frame), first);
}

void link::send_copy(const frame_header& header, byte_buffer payload) {
  outgoing frame;
  encode_frame(header, frame.prefix);
  frame.owned = std::move(payload);
  frame.payload = frame.owned;  // moving the vector keeps its memory
  insert(std::move(frame), true);
}

void link::sent(std::size_t bytes) {
  front_sent_ += bytes;
  while (!out_.empty() && front_sent_ >= out_.front().size()) {
    front_sent_ -= out_.front().size();
    out_.pop_front();
  }
}

expected<void> link::flush() {
  while (!out_.empty()) {
    if (!socket_) return disconnected();
    constexpr std::size_t frames = 16;
    iovec parts[3 * frames];
    std::size_t count = 0;
    std::size_t total = 0;
    std::size_t skip = front_sent_;
    const auto add = [&](const std::byte* data, std::size_t size) {
      const auto cut = std::min(skip, size);
      skip -= cut;
      if (size == cut) return;
      parts[count++] = {const_cast<std::byte*>(data) + cut, size - cut};
      total += size - cut;
    };
    for (std::size_t i = 0; i < std::min(frames, out_.size()); ++i) {
      const auto& f = out_[i];
      add(f.prefix.bytes.data(), frame_prefix_size);
      add(f.payload.data(), f.payload.size());
      add(zeros, frame_padding(f.payload.size()));
    }
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = count;
    const auto n = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return {};
      if (gone(errno)) return disconnected();
      return fail_errno("sendmsg", "gang link");
    }
    sent(static_cast<std::size_t>(n));
    if (static_cast<std::size_t>(n) < total) return {};
  }
  return {};
}

void link::drop() {
  const auto keep = out_.begin() + (front_sent_ != 0 ? 1 : 0);
  out_.erase(std::remove_if(keep, out_.end(), [](const outgoing& f) { return f.owned.empty(); }), out_.end());
}

expected<bool> link::consume(link_sink& sink) {
  for (;;) {
    if (in_payload_) {
      const auto n = std::min(staged(), payload_left_);
      if (n != 0 && !skipping_) {
        std::memcpy(place_.data() + (place_.size() - payload_left_), staging_.get() + staged_begin_, n);
      }
      staged_begin_ += n;
      payload_left_ -= n;
      if (payload_left_ != 0) return false;
      const auto pad = std::min(staged(), padding_left_);
      staged_begin_ += pad;
      padding_left_ -= pad;
      if (padding_left_ != 0) return false;
      in_payload_ = false;
      has_header_ = false;
      if (!skipping_) {
        if (auto ok = sink.end(header_); !ok) return unexpected(std::move(ok.error()));
      }
    }
    if (!has_header_) {
      if (staged() < frame_prefix_size) return false;
      frame_prefix prefix;
      std::memcpy(prefix.bytes.data(), staging_.get() + staged_begin_, frame_prefix_size);
      staged_begin_ += frame_prefix_size;
      auto header = decode_frame(prefix);
      if (!header) return unexpected(std::move(header.error()));
      header_ = *header;
      has_header_ = true;
    }
    place_ = {};
    auto verdict = sink.begin(header_, place_);
    if (!verdict) return unexpected(std::move(verdict.error()));
    held_ = *verdict == link_sink::verdict::hold;
    if (held_) return false;
    skipping_ = *verdict == link_sink::verdict::skip;
    invariant(skipping_ || place_.size() == header_.length, "a payload and its place differ in size");
    payload_left_ = header_.length;
    padding_left_ = frame_padding(header_.length);
    in_payload_ = true;
  }
}

expected<bool> link::receive(link_sink& sink) {
  if (!socket_) return disconnected();
  bool any = false;
  // What is staged may be a held frame whose call has come.
  if (held_ || staged() != 0) {
    const auto before = staged_begin_;
    const bool was_held = held_;
    if (auto ok = consume(sink); !ok) return ok;
    any = staged_begin_ != before || (was_held && !held_);
    if (held_) return any;
  }
  for (;;) {
    if (staged() == 0) {
      staged_begin_ = staged_end_ = 0;
    } else if (staged_begin_ != 0) {
      std::memmove(staging_.get(), staging_.get() + staged_begin_, staged());
      staged_end_ -= staged_begin_;
      staged_begin_ = 0;
    }
    iovec parts[2];
    int count = 0;
    std::size_t direct = 0;
    if (in_payload_ && !skipping_ && payload_left_ != 0) {
      direct = payload_left_;
      parts[count++] = {place_.data() + (place_.size() - payload_left_), direct};
    }
    const auto room = staging_size - staged_end_;
    parts[count++] = {staging_.get() + staged_end_, room};
    const auto n = ::readv(socket_.get(), parts, count);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return any;
      if (gone(errno)) return disconnected();
      return fail_errno("readv", "gang link");
    }
    if (n == 0) return disconnected();
    any = true;
    const auto got = static_cast<std::size_t>(n);
    payload_left_ -= std::min(got, direct);
    staged_end_ += got - std::min(got, direct);
    if (auto ok = consume(sink); !ok) return ok;
    // A short read emptied the socket; a held frame waits for its call.
    if (held_ || got < direct + room) return any;
  }
}

short link::events() const {
  if (!socket_) return 0;
  return static_cast<short>((held_ ? 0 : POLLIN) | (out_.empty() ? 0 : POLLOUT));
}

void link::close() {
  if (!socket_) return;
  ::shutdown(socket_.get(), SHUT_WR);
  // Closing with unread bytes would reset the connection and could take our last frames with it.
  char scrap[4096];
  while (::recv(socket_.get(), scrap, sizeof scrap, MSG_DONTWAIT) > 0) {
  }
  socket_.reset();
  out_.clear();
  front_sent_ = 0;
}

}  // namespace hydrogen::comm::tcp
