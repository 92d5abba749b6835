#include <hydrogen/base/random.hpp>
#include <hydrogen/comm/frame.hpp>
#include <hydrogen/schema/frame.capnp.h>

#include <capnp/serialize.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <future>

using namespace hydrogen;
using namespace hydrogen::comm;

namespace {

frame_header sample(std::uint64_t length) {
  frame_header h;
  h.fence = {0x1122334455667788, {{3}, 17}};
  h.call = 5;
  h.plan = 0xabcdef;
  h.offset = 4096;
  h.length = length;
  h.total = 1 << 30;
  h.chunk = 9;
  h.phase = 1;
  h.kind = frame_kind::piece;
  h.code = 2;
  h.whole = 6;
  return h;
}

}  // namespace

TEST_CASE("a frame header comes back as it was") {
  for (const std::uint64_t length :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{8}, std::uint64_t{max_frame_payload}}) {
    frame_prefix prefix;
    encode_frame(sample(length), prefix);
    const auto back = decode_frame(prefix);
    REQUIRE(back);
    CHECK(*back == sample(length));
  }
}

TEST_CASE("a frame's header has nothing of the one before it") {
  const auto bytes_of = [](const frame_header& h) {
    frame_prefix prefix;
    encode_frame(h, prefix);
    return prefix.bytes;
  };
  const frame_header empty;
  const auto first = std::async(std::launch::async, [&] { return bytes_of(empty); }).get();
  frame_header other;
  other.length = 13;
  const auto second = std::async(std::launch::async, [&] { return bytes_of(other); }).get();
  for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{13}, std::uint64_t{max_frame_payload}}) {
    bytes_of(sample(length));
    CHECK(bytes_of(empty) == first);
    bytes_of(sample(length));
    CHECK(bytes_of(other) == second);
  }
}

TEST_CASE("a frame is a complete Cap'n Proto message that any reader understands") {
  for (const std::size_t length : {0u, 1u, 13u, 64u}) {
    frame_prefix prefix;
    encode_frame(sample(length), prefix);
    std::vector<std::byte> payload(length);
    for (std::size_t i = 0; i < length; ++i) payload[i] = static_cast<std::byte>(i + 1);
    std::vector<capnp::word> words((frame_prefix_size + length + frame_padding(length)) / 8);
    auto* at = reinterpret_cast<std::byte*>(words.data());
    std::memcpy(at, prefix.bytes.data(), frame_prefix_size);
    std::copy(payload.begin(), payload.end(), at + frame_prefix_size);
    capnp::FlatArrayMessageReader message(kj::arrayPtr(words.data(), words.size()));
    const auto frame = message.getRoot<schema::FrameHeader>();
    CHECK(frame.getCounter() == 17);
    CHECK(frame.getLength() == length);
    REQUIRE(frame.getPayload().size() == length);
    CHECK(std::equal(payload.begin(), payload.end(), reinterpret_cast<const std::byte*>(frame.getPayload().begin())));
    CHECK(message.getEnd() == words.data() + words.size());
  }
}

TEST_CASE("a header that announces more than a frame may hold is refused") {
  frame_prefix prefix;
  encode_frame(sample(max_frame_payload), prefix);
  // The second entry of the segment table, and the field in the struct, disagree.
  const std::uint32_t words = max_frame_payload / 8 + 1;
  std::memcpy(prefix.bytes.data() + 8, &words, sizeof words);
  const auto back = decode_frame(prefix);
  REQUIRE_FALSE(back);
  CHECK(back.error().code == errc::bad_input);
}

TEST_CASE("a header with a root of its own is refused, wherever it points") {
  frame_prefix prefix;
  encode_frame(sample(8), prefix);
  for (std::size_t bit = 0; bit < 64; ++bit) {
    auto other = prefix;
    other.bytes[16 + bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    const auto back = decode_frame(other);
    REQUIRE_FALSE(back);
    CHECK(back.error().code == errc::bad_input);
  }
}

TEST_CASE("damaged headers are refused or read, never worse") {
  random_source random(11);
  std::size_t refused = 0;
  for (int i = 0; i < 20000; ++i) {
    frame_prefix prefix;
    encode_frame(sample(random.below(100)), prefix);
    const auto hits = 1 + random.below(6);
    for (std::uint64_t k = 0; k < hits; ++k)
      prefix.bytes[random.below(frame_prefix_size)] = static_cast<std::byte>(random());
    if (i % 10 == 0) {
      for (auto& b : prefix.bytes) b = static_cast<std::byte>(random());
    }
    const auto back = decode_frame(prefix);
    if (!back) {
      ++refused;
    } else {
      CHECK(back->length <= max_frame_payload);
    }
  }
  CHECK(refused > 1000);
}
