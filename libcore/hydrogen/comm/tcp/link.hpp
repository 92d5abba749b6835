#pragma once
// A gang link over a stream socket (TCP; a socket pair in tests): gather write of header and referenced payload,
// scatter read of the payload into its place.

#include <hydrogen/comm/stream_link.hpp>

namespace hydrogen::comm::tcp {

class link final : public stream_link {
 public:
  /// Takes a connected socket whose handshake is done; makes it non-blocking and asks for large socket buffers.
  explicit link(unique_fd socket);
  ~link() override { close(); }

 private:
  expected<std::size_t> write(std::span<const iovec> parts) override { return write_to_socket(fd(), parts); }
  expected<std::size_t> read(std::span<const iovec> parts) override { return read_from_socket(fd(), parts); }
};

}  // namespace hydrogen::comm::tcp
