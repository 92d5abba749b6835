#pragma once
// The calls that a rank makes while it is fuzzed, and the frames that an honest other rank would send: what the far end
// of the link starts from. Ranks 0 (fuzzed) and 1.

#include <hydrogen/comm/call.hpp>
#include <hydrogen/comm/frame.hpp>
#include <hydrogen/comm/group_engine.hpp>

#include <string>
#include <vector>

namespace hydrogen::fuzz {

inline const comm::gang_token live{{{1, 2}, 3, 4, 5}, {{2}, 9}};

struct frame {
  comm::frame_header header;
  byte_buffer payload;
};

/// One call: `result` and `whom` of a reduction; of anything else, what rank 1 sends: `bytes`, of any size where the
/// receiver gives it room as it comes.
struct call {
  comm::call_plan plan;
  comm::result_to whom = comm::result_to::all;
  std::size_t bytes = 0;
  bool growing = false;

  bool reduces() const { return plan.kind != comm::element::none; }
  std::size_t count() const { return plan.count; }
};

/// The calls of one input, and all frames of an honest rank 1 in them.
struct course {
  std::vector<call> calls;
  std::vector<frame> honest;
  byte_buffer stream;  // of `honest`
};
constexpr std::size_t courses = 8;
/// Made once.
const course& course_of(std::size_t number);

/// Values of a rank in a call.
std::vector<std::int64_t> values_of(const call&, std::uint32_t rank);

/// What the pieces of a stream come to that belong to a call.
struct told {
  std::uint64_t total = 0;  // as the first piece announces it
  byte_buffer phases[2];    // what the pieces carry, one behind the other
};
/// Reads a stream of frames as far as they can be told apart.
std::vector<told> pieces_in(byte_view stream, std::size_t calls);

/// Whether `values`, which were values_of(c, 0), are now what the call makes of them and of what was sent.
bool is_right(const call& c, const std::vector<std::int64_t>& values, const told&);
bool is_front(byte_view front, byte_view all);

/// A frame as bytes.
void append(byte_buffer& stream, const frame&);

}  // namespace hydrogen::fuzz
