#include <hydrogen/base/hash.hpp>

#include <doctest/doctest.h>

using namespace hydrogen;

TEST_CASE("a stream of pieces has the hash of the whole, and starts anew") {
  byte_buffer bytes(100'000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 31 % 251);
  hash_stream stream;
  CHECK(stream.value() == hash_bytes({}));
  for (const std::size_t piece : {1u, 7u, 4096u, 100'000u}) {
    stream.restart();
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      stream.add(bytes.data() + at, std::min(piece, bytes.size() - at));
    }
    CHECK(stream.value() == hash_bytes(bytes));
  }
  stream.add(bytes.data(), 1);
  CHECK(stream.value() != hash_bytes(bytes));
}
