#include <hydrogen/comm/stream_link.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace hydrogen::comm {
namespace {

constexpr std::byte zeros[8] = {};
// Bytes of one look: who sends without end is left then, so that other links and the abort word get their turn.
constexpr std::size_t look_limit = std::size_t{16} << 20;

}  // namespace

bool is_end_of_socket(int code) {
  return code == EPIPE || code == ECONNRESET || code == ENOTCONN || code == ETIMEDOUT || code == ECONNABORTED;
}

unexpected link_has_ended() {
  return fail(errc::disconnected, "the connection is closed");
}

expected<std::size_t> write_to_socket(int socket, std::span<const iovec> parts) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  for (;;) {
    const auto n = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::size_t{0};
    if (is_end_of_socket(errno)) return link_has_ended();
    return fail_errno("sendmsg", "gang link");
  }
}

expected<std::size_t> read_from_socket(int socket, std::span<const iovec> parts) {
  for (;;) {
    const auto n = ::readv(socket, parts.data(), static_cast<int>(parts.size()));
    if (n > 0) return static_cast<std::size_t>(n);
    if (n == 0) return link_has_ended();
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::size_t{0};
    if (is_end_of_socket(errno)) return link_has_ended();
    return fail_errno("readv", "gang link");
  }
}

void ask_for_large_buffers(int socket) {
  const int wanted = 4 << 20;
  ::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
  ::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &wanted, sizeof wanted);
}

stream_link::stream_link(unique_fd socket, std::size_t staging)
    : socket_(std::move(socket)),
      staging_size_(staging),
      staging_(std::make_unique_for_overwrite<std::byte[]>(staging)) {
  const int flags = ::fcntl(socket_.get(), F_GETFL);
  if (flags >= 0 && (flags & O_NONBLOCK) == 0) ::fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK);
}

void stream_link::insert(outgoing frame, bool first) {
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

void stream_link::send(const frame_header& header, byte_view payload, bool first) {
  outgoing frame;
  encode_frame(header, frame.prefix);
  frame.payload = payload;
  insert(std::move(frame), first);
}

void stream_link::send_copy(const frame_header& header, byte_buffer payload) {
  outgoing frame;
  encode_frame(header, frame.prefix);
  frame.owned = std::move(payload);
  frame.payload = frame.owned;  // moving the vector keeps its memory
  frame.remark = is_remark(header.kind);
  insert(std::move(frame), true);
}

void stream_link::sent(std::size_t bytes) {
  front_sent_ += bytes;
  while (!out_.empty() && front_sent_ >= out_.front().size()) {
    front_sent_ -= out_.front().size();
    out_.pop_front();
  }
}

expected<void> stream_link::flush() {
  while (!out_.empty()) {
    if (!socket_) return link_has_ended();
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
    const auto n = write({parts, count});
    if (!n) return unexpected(n.error());
    sent(*n);
    if (*n < total) return {};
  }
  return {};
}

void stream_link::drop() {
  const auto keep = out_.begin() + (front_sent_ != 0 ? 1 : 0);
  out_.erase(std::remove_if(keep, out_.end(), [](const outgoing& f) { return f.owned.empty(); }), out_.end());
}

expected<bool> stream_link::consume(link_sink& sink) {
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

expected<bool> stream_link::receive(link_sink& sink) {
  if (!socket_) return link_has_ended();
  bool any = false;
  // What is staged may be a held frame whose call has come.
  if (held_ || staged() != 0) {
    const auto before = staged_begin_;
    const bool was_held = held_;
    if (auto ok = consume(sink); !ok) return ok;
    any = staged_begin_ != before || (was_held && !held_);
    if (held_) return any;
  }
  for (std::size_t looked = 0; looked < look_limit;) {
    if (staged() == 0) {
      staged_begin_ = staged_end_ = 0;
    } else if (staged_begin_ != 0) {
      std::memmove(staging_.get(), staging_.get() + staged_begin_, staged());
      staged_end_ -= staged_begin_;
      staged_begin_ = 0;
    }
    iovec parts[2];
    std::size_t count = 0;
    std::size_t direct = 0;
    if (in_payload_ && !skipping_ && payload_left_ != 0) {
      direct = payload_left_;
      parts[count++] = {place_.data() + (place_.size() - payload_left_), direct};
    }
    const auto room = staging_size_ - staged_end_;
    parts[count++] = {staging_.get() + staged_end_, room};
    const auto got = read({parts, count});
    if (!got) return unexpected(got.error());
    if (*got == 0) return any;
    any = true;
    looked += *got;
    payload_left_ -= std::min(*got, direct);
    staged_end_ += *got - std::min(*got, direct);
    if (auto ok = consume(sink); !ok) return ok;
    // A short read took all that was there; a held frame waits for its call.
    if (held_ || *got < direct + room) return any;
  }
  return any;
}

short stream_link::events() const {
  if (!socket_) return 0;
  return static_cast<short>((held_ ? 0 : POLLIN) | (out_.empty() ? 0 : POLLOUT));
}

void stream_link::close() {
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

}  // namespace hydrogen::comm
