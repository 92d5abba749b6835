#pragma once
// A gang link over a stream socket (TCP; a socket pair in tests): gather write of header and referenced payload,
// scatter read of the payload into its place and of what follows it into a small staging buffer.

#include <hydrogen/base/unique_fd.hpp>
#include <hydrogen/comm/link.hpp>

#include <deque>
#include <memory>

namespace hydrogen::comm::tcp {

class link final : public comm::link {
 public:
  /// Takes a connected socket whose handshake is done; makes it non-blocking and asks for large socket buffers.
  explicit link(unique_fd socket);
  ~link() override { close(); }

  void send(const frame_header&, byte_view payload, bool first) override;
  void send_copy(const frame_header&, byte_buffer payload) override;
  expected<void> flush() override;
  bool idle() const override { return out_.empty(); }
  void drop() override;
  expected<bool> receive(link_sink&) override;
  bool ready() const override { return false; }
  int fd() const override { return socket_.get(); }
  short events() const override;
  void close() override;

 private:
  struct outgoing {
    frame_prefix prefix;
    byte_view payload;
    byte_buffer owned;  // behind `payload` for frames with a copy
    bool first = false;
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
  static constexpr std::size_t staging_size = 8192;
  std::unique_ptr<std::byte[]> staging_;
  std::size_t staged_begin_ = 0;
  std::size_t staged_end_ = 0;
};

}  // namespace hydrogen::comm::tcp
