#pragma once
// What a process says when it connects to another: what the connection is for, who it is, and whom it means. Both sides
// have proven the cluster's secret, and the proof covers the hello, before a receiver sees it (see handshake.hpp).
// A plain value. Any thread.

#include <hydrogen/base/bytes.hpp>
#include <hydrogen/base/ids.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace hydrogen::comm {

/// Of everything on a connection: the handshake, control messages, link frames. Both sides must have the same.
inline constexpr std::uint32_t protocol_version = 4;

/// A hello that is longer when encoded is refused on both sides.
inline constexpr std::size_t max_hello_size = 4096;

enum class link_purpose : std::uint8_t { control, gang, block, memory };
std::string_view to_string(link_purpose purpose);

struct hello {
  link_purpose purpose = link_purpose::control;
  boot_id from;
  boot_id to;            // 0: whoever listens
  std::string who;       // for messages to people: "executor 3f.. on node-1"
  std::string endpoint;  // where the sender listens; may be empty
  byte_buffer token;     // of the purpose, a gang and its attempt for instance; not secret
  template <class I>
  friend auto inspect(I& f, hello& x) {
    return f(x.purpose, x.from, x.to, x.who, x.endpoint, x.token);
  }
  bool operator==(const hello&) const = default;
};

/// The bytes of a hello; errc::over_limit when they are too many.
expected<byte_buffer> encode_hello(const hello& h);
expected<hello> decode_hello(byte_view bytes);

/// What messages call the other side: its `who`, else its endpoint, else its boot.
std::string name_of(const hello& h);

}  // namespace hydrogen::comm
