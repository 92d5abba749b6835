#include <hydrogen/base/random.hpp>
#include <hydrogen/comm/hello.hpp>

#include <doctest/doctest.h>

using namespace hydrogen;
using namespace hydrogen::comm;

TEST_CASE("a hello survives encoding") {
  const hello h{link_purpose::block,           {7}, {8}, "executor 7 on node-1", "127.0.0.1:4711",
                byte_buffer(100, std::byte{3})};
  const auto bytes = encode_hello(h);
  REQUIRE(bytes);
  CHECK(decode_hello(*bytes).value() == h);
}

TEST_CASE("a hello above the limit is refused before it is sent") {
  hello h;
  h.token.resize(max_hello_size);
  const auto bytes = encode_hello(h);
  REQUIRE_FALSE(bytes);
  CHECK(bytes.error().code == errc::over_limit);
}

TEST_CASE("a hello with an unknown purpose, cut short, or damaged is an error") {
  auto bytes = encode_hello({link_purpose::gang, {1}, {2}, "who", "where", {}}).value();
  for (std::size_t n = 0; n < bytes.size(); ++n) CHECK_FALSE(decode_hello({bytes.data(), n}));
  bytes[0] = std::byte{4};
  CHECK(decode_hello(bytes).error().code == errc::bad_input);
  random_source random(11);
  for (int i = 0; i < 2000; ++i) {
    byte_buffer noise(random.below(200));
    for (auto& b : noise) b = static_cast<std::byte>(random());
    const auto read = decode_hello(noise);
    if (read) CHECK(encode_hello(*read).value() == noise);
  }
}

TEST_CASE("messages name a process by who it says it is, else where it listens, else its boot") {
  CHECK(name_of({link_purpose::control, {1}, {}, "agent node-1", "127.0.0.1:1", {}}) == "agent node-1");
  CHECK(name_of({link_purpose::control, {1}, {}, "", "127.0.0.1:1", {}}) == "127.0.0.1:1");
  CHECK(name_of({link_purpose::control, {1}, {}, "", "", {}}) == "process 0000000000000001");
}
