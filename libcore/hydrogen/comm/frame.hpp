#pragma once
// Frames on gang links (schema/frame.capnp): each one is a complete Cap'n Proto message of two segments, the header
// and the payload. The writer produces only the header's bytes and gathers the payload from where it is; the reader
// decodes the header alone and receives the payload straight into its place. Nothing is allocated from what a header
// announces. Pure functions, any thread.

#include <hydrogen/base/bytes.hpp>
#include <hydrogen/comm/token.hpp>

#include <array>
#include <cstdint>

namespace hydrogen::comm {

/// Largest payload of one frame, so that nobody waits behind a giant.
inline constexpr std::size_t max_frame_payload = std::size_t{1} << 20;
/// Bytes before the payload: segment table and first segment.
inline constexpr std::size_t frame_prefix_size = 120;

enum class frame_kind : std::uint8_t {
  describe = 1,  // payload: text of the plan whose hash is in `plan`; sent before its first piece
  piece = 2,     // a part of a collective call; the first one also says "I have entered this call"
  bye = 3,       // the last frame of a rank; `code` and payload: why, if the call failed
  waiting = 4,   // payload: a waiting_note
  ask = 5,       // whoever waits is to say so; `total`: a number, not 0
  answer = 6     // payload: a wait_report; `total`: the number, or 0 when nobody asked
};

/// What ranks that wait tell each other. No call needs it, and the receiver may take it when its sender has gone on.
constexpr bool is_remark(frame_kind kind) {
  return kind >= frame_kind::waiting;
}

struct frame_header {
  gang_fence fence;
  std::uint64_t call = 0;
  std::uint64_t plan = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::uint64_t total = 0;
  std::uint32_t chunk = 0;
  std::uint16_t phase = 0;
  frame_kind kind = frame_kind::piece;
  std::uint8_t code = 0;
  std::uint32_t whole = 0;  // calls of the whole gang that the sender has begun; counted with islands alone

  bool operator==(const frame_header&) const = default;
};

struct frame_prefix {
  alignas(8) std::array<std::byte, frame_prefix_size> bytes;
};

/// Zeros after a payload of `length` bytes: segments are whole words.
constexpr std::size_t frame_padding(std::uint64_t length) {
  return (8 - length % 8) % 8;
}

void encode_frame(const frame_header&, frame_prefix& out);
/// errc::bad_input for anything but a well-formed header with a payload of at most `max_frame_payload`.
expected<frame_header> decode_frame(const frame_prefix&);

}  // namespace hydrogen::comm
