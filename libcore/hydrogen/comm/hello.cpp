#include <hydrogen/comm/hello.hpp>

namespace hydrogen::comm {

std::string_view to_string(link_purpose purpose) {
  switch (purpose) {
    case link_purpose::control:
      return "control connection";
    case link_purpose::gang:
      return "gang link";
    case link_purpose::block:
      return "block link";
    case link_purpose::memory:
      return "shared memory";
  }
  return "unknown purpose";
}

expected<byte_buffer> encode_hello(const hello& h) {
  auto bytes = encode(h);
  if (bytes.size() > max_hello_size) {
    return fail(errc::over_limit,
                "a hello of " + std::to_string(bytes.size()) + " bytes; the limit is " + std::to_string(max_hello_size),
                h.who.substr(0, 64), "shorten the name or the token");
  }
  return bytes;
}

expected<hello> decode_hello(byte_view bytes) {
  auto h = decode<hello>(bytes, "hello");
  if (h && h->purpose > link_purpose::memory) {
    return fail(errc::bad_input, "a hello with the unknown purpose " + std::to_string(static_cast<int>(h->purpose)));
  }
  return h;
}

std::string name_of(const hello& h) {
  if (!h.who.empty()) return h.who;
  if (!h.endpoint.empty()) return h.endpoint;
  return "process " + to_string(h.from);
}

}  // namespace hydrogen::comm
