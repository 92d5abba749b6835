#include <hydrogen/comm/endpoint.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <charconv>
#include <cstddef>
#include <cstring>
#include <string_view>

namespace hydrogen::comm {
namespace {

constexpr std::string_view unix_prefix = "unix:";

template <class T>
T as(const socket_address& a) {
  T out;
  std::memcpy(&out, &a.bytes, sizeof out);
  return out;
}

template <class T>
socket_address from(const T& in) {
  socket_address out;
  std::memcpy(&out.bytes, &in, sizeof in);
  out.size = sizeof in;
  return out;
}

unexpected bad(const std::string& text) {
  return fail(errc::bad_input, "not an address and a port: \"" + text.substr(0, 80) + '"', {},
              "write it as 127.0.0.1:4711 or [::1]:4711; host names are not looked up");
}

}  // namespace

bool socket_address::is_loopback() const {
  if (bytes.ss_family == AF_UNIX) return true;
  if (bytes.ss_family == AF_INET) return (ntohl(as<sockaddr_in>(*this).sin_addr.s_addr) >> 24) == 127;
  if (bytes.ss_family == AF_INET6) {
    const auto in = as<sockaddr_in6>(*this);
    return IN6_IS_ADDR_LOOPBACK(&in.sin6_addr);
  }
  return false;
}

std::uint16_t socket_address::port() const {
  if (bytes.ss_family == AF_INET) return ntohs(as<sockaddr_in>(*this).sin_port);
  if (bytes.ss_family == AF_INET6) return ntohs(as<sockaddr_in6>(*this).sin6_port);
  return 0;
}

std::string host_endpoint(const std::string& endpoint) {
  return std::string(unix_prefix) + "hydrogen/" + endpoint;
}

expected<socket_address> parse_endpoint(const std::string& text) {
  if (text.starts_with(unix_prefix)) {
    sockaddr_un in{};
    in.sun_family = AF_UNIX;
    const auto name = std::string_view(text).substr(unix_prefix.size());
    if (name.empty() || name.size() >= sizeof in.sun_path) return bad(text);
    // A leading zero makes it abstract.
    std::memcpy(in.sun_path + 1, name.data(), name.size());
    auto address = from(in);
    address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    return address;
  }
  const auto colon = text.rfind(':');
  if (colon == std::string::npos) return bad(text);
  std::uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto [stop, problem] = std::from_chars(text.data() + colon + 1, end, port);
  if (problem != std::errc() || stop != end) return bad(text);

  std::string host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port);
    if (inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &in.sin6_addr) != 1) return bad(text);
    return from(in);
  }
  if (host == "localhost") host = "127.0.0.1";
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(port);
  if (inet_pton(AF_INET, host.c_str(), &in.sin_addr) != 1) return bad(text);
  return from(in);
}

std::string to_string(const socket_address& address) {
  if (address.bytes.ss_family == AF_UNIX) {
    constexpr auto before = offsetof(sockaddr_un, sun_path) + 1;
    const auto in = as<sockaddr_un>(address);
    return address.size <= before ? "unix" : std::string(unix_prefix).append(in.sun_path + 1, address.size - before);
  }
  char host[INET6_ADDRSTRLEN] = "?";
  if (address.bytes.ss_family == AF_INET) {
    const auto in = as<sockaddr_in>(address);
    inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
    return std::string(host) + ':' + std::to_string(address.port());
  }
  if (address.bytes.ss_family == AF_INET6) {
    const auto in = as<sockaddr_in6>(address);
    inet_ntop(AF_INET6, &in.sin6_addr, host, sizeof host);
    return '[' + std::string(host) + "]:" + std::to_string(address.port());
  }
  return "no address";
}

socket_address local_address(int fd) {
  socket_address a;
  a.size = sizeof a.bytes;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&a.bytes), &a.size) != 0) return {};
  return a;
}

socket_address remote_address(int fd) {
  socket_address a;
  a.size = sizeof a.bytes;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&a.bytes), &a.size) != 0) return {};
  return a;
}

}  // namespace hydrogen::comm
