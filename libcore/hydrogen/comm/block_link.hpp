#pragma once
// Block links: bulk data between processes, pulled by the receiver (block_client.hpp) from the holder
// (block_server.hpp). This header has what both share: keys, blocks, and the format on the wire. Any thread.
//
// The receiver sends records of fixed size: fetch (index, key) and grant (bytes). The holder answers the fetches in
// order, each with a head, the bytes, and the XXH3 checksum of both. Bytes of blocks are only sent as far as they were
// granted; a grant is renewed when a block has been consumed. Numbers are little-endian.

#include <hydrogen/base/bytes.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <string>

namespace hydrogen::comm {

/// The name of a block; opaque here.
using block_key = std::array<std::byte, 32>;
std::string to_string(const block_key& key);  // 64 hexadecimal digits

/// What a holder sends. `owner` keeps `bytes` alive until they are sent.
struct served_block {
  std::shared_ptr<const void> owner;
  byte_view bytes;
  std::uint64_t rows = 0;
  std::uint64_t type_code = 0;
  std::uint8_t layout = 0;
  std::uint32_t extra = 0;
};

/// What arrived: its own memory, 64-byte aligned; null when `size` is 0.
struct fetched_block {
  std::shared_ptr<std::byte> memory;
  std::size_t size = 0;
  std::uint64_t rows = 0;
  std::uint64_t type_code = 0;
  std::uint8_t layout = 0;
  std::uint32_t extra = 0;

  byte_view bytes() const { return {memory.get(), size}; }
};

namespace block_wire {

enum class ask : std::uint8_t { fetch, grant };
struct request {
  ask what = ask::fetch;
  std::uint8_t unused[3] = {};
  std::uint32_t index = 0;   // fetch: the holder says it back
  std::uint64_t amount = 0;  // grant: bytes
  block_key key{};
};
static_assert(sizeof(request) == 48);

struct head {
  std::uint32_t index = 0;
  std::uint8_t failed = 0;  // 1: an encoded error follows in place of the bytes
  std::uint8_t layout = 0;
  std::uint8_t unused[2] = {};
  std::uint64_t size = 0;
  std::uint64_t rows = 0;
  std::uint64_t type_code = 0;
  std::uint32_t extra = 0;
  std::uint32_t unused_too = 0;
};
static_assert(sizeof(head) == 40);

using checksum = std::uint64_t;

/// Fetches that a receiver may have sent and not seen answered.
inline constexpr std::size_t max_outstanding = 256;
inline constexpr std::size_t max_error = 64 << 10;
/// Bytes are hashed and moved in pieces that stay in the processor's cache.
inline constexpr std::size_t piece = 256 << 10;

}  // namespace block_wire
}  // namespace hydrogen::comm
