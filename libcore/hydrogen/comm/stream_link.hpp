#pragma once
// Frames on a stream of bytes, both ways: what links to other processes have in common. The writer gathers header and
// referenced payload; the reader scatters the payload into its place and what follows it into a small staging buffer.
// How bytes get across is the derived class's: over the link's socket, or through memory beside it.

#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/comm/link.hpp>

#include <sys/uio.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <span>

namespace hydrogen::comm {

class stream_link : public link {
 public:
  void send(const frame_header&, byte_view payload, bool first) override;
  void send_copy(const frame_header&, byte_buffer payload) override;
  expected<void> flush() override;
  bool idle() const override {
    return std::all_of(out_.begin(), out_.end(), [](const outgoing& f) { return f.remark; });
  }
  bool flushed() const override { return out_.empty(); }
  void drop() override;
  expected<bool> receive(link_sink&) override;
  bool ready() const override { return false; }
  int fd() const override { return socket_.get(); }
  short events() const override;
  void close() override;

 protected:
  /// A connected socket whose handshake is done; made non-blocking. `staging`: bytes that one look may read beyond a
  /// payload; at least a padding and a header.
  stream_link(unique_fd socket, std::size_t staging);

  /// Takes as many of these bytes as fit now; how many. errc::disconnected when the other side is gone.
  virtual expected<std::size_t> write(std::span<const iovec>) = 0;
  /// Fills these places, one after the other, with what is there now; how many bytes. errc::disconnected at the end.
  virtual expected<std::size_t> read(std::span<const iovec>) = 0;

 private:
  struct outgoing {
    frame_prefix prefix;
    byte_view payload;
    byte_buffer owned;  // behind `payload` for frames with a copy
    bool first = false;
    bool remark = false;
    std::size_t size() const { return frame_prefix_size + payload.size() + frame_padding(payload.size()); }
  };
  void insert(outgoing, bool first);
  void sent(std::size_t bytes);
  /// Takes what is staged; false when more bytes are needed, or the frame is held.
  expected<bool> consume(link_sink&);
  std::size_t staged() const { return staged_end_ - staged_begin_; }

  unique_fd socket_;
  // Writing: out_[0] is sent up to front_sent_.
  std::deque<outgoing> out_;
  std::size_t front_sent_ = 0;
  // Reading: a header, then its payload, then its padding.
  bool has_header_ = false;
  bool in_payload_ = false;
  bool held_ = false;
  bool skipping_ = false;
  frame_header header_;
  mutable_byte_view place_;
  std::size_t payload_left_ = 0;
  std::size_t padding_left_ = 0;
  const std::size_t staging_size_;
  std::unique_ptr<std::byte[]> staging_;
  std::size_t staged_begin_ = 0;
  std::size_t staged_end_ = 0;
};

/// `write` and `read` of a link over a socket.
expected<std::size_t> write_to_socket(int socket, std::span<const iovec>);
expected<std::size_t> read_from_socket(int socket, std::span<const iovec>);
/// For large payloads. A wish: the system may give less, which only costs speed.
void ask_for_large_buffers(int socket);
/// An errno of a socket whose other side is gone.
bool is_end_of_socket(int code);
/// Errors of a link that has ended.
unexpected link_has_ended();

}  // namespace hydrogen::comm
