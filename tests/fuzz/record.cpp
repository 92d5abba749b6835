// decode_record on any bytes: an error, or a record that is the same after it was written and read again.
#include <hydrogen/gang/record.hpp>

#include "target.hpp"

using namespace hydrogen;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::allocation_limit limit((64 << 10) + 512 * size);
  const auto record = gang::decode_record({reinterpret_cast<const std::byte*>(data), size});
  if (!record) {
    fuzz::must(record.error().code == errc::bad_input, "a record is refused for another reason than its bytes");
    return 0;
  }
  const auto back = gang::decode_record(gang::encode_record(*record));
  fuzz::must(back && *back == *record, "a record reads otherwise after it was written anew");
  return 0;
}
