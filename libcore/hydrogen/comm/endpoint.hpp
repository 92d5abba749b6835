#pragma once
// Addresses as people write them: "127.0.0.1:4711", "[::1]:4711", "localhost:4711". Host names are not looked up: a
// look-up blocks without a deadline. "unix:NAME" is a socket of this host (in the abstract name space, so that it needs
// no file and is gone with its listener). Any thread.

#include <hydrogen/base/error.hpp>

#include <sys/socket.h>

#include <string>

namespace hydrogen::comm {

struct socket_address {
  sockaddr_storage bytes{};
  socklen_t size = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&bytes); }
  bool is_loopback() const;
  std::uint16_t port() const;
};

/// errc::bad_input when it is not an address and a port.
expected<socket_address> parse_endpoint(const std::string& text);
std::string to_string(const socket_address& address);

/// Where the process that listens at `endpoint` is reached from the same host, descriptors included.
std::string host_endpoint(const std::string& endpoint);

/// Of a socket's own side or of the other side; an empty address (size 0) when there is none.
socket_address local_address(int fd);
socket_address remote_address(int fd);

}  // namespace hydrogen::comm
