// decode_frame on any bytes: what it accepts is within the limits, and encodes to a frame that reads the same.
#include <hydrogen/comm/frame.hpp>

#include "target.hpp"

using namespace hydrogen;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::allocation_limit limit(64 << 10);
  comm::frame_prefix prefix{};
  const auto front = fuzz::reader(data, size).take(comm::frame_prefix_size);
  std::copy(front.begin(), front.end(), prefix.bytes.begin());
  const auto header = comm::decode_frame(prefix);
  if (!header) {
    fuzz::must(header.error().code == errc::bad_input, "a frame is refused for another reason than its bytes");
    return 0;
  }
  fuzz::must(header->length <= comm::max_frame_payload, "a frame above the limit is accepted");
  comm::frame_prefix again;
  comm::encode_frame(*header, again);
  const auto back = comm::decode_frame(again);
  fuzz::must(back && *back == *header, "a frame reads otherwise after it was written anew");
  return 0;
}
