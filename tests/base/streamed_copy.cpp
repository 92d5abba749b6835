#include <hydrogen/base/random.hpp>
#include <hydrogen/base/streamed_copy.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <vector>

using namespace hydrogen;

TEST_CASE("a streamed copy writes all of its bytes and no other, from and to any place") {
  random_source random(64);
  std::vector<std::byte> from(1000), to(1000);
  for (auto& b : from) b = static_cast<std::byte>(random.below(256));
  for (int i = 0; i < 20'000; ++i) {
    const auto size = random.below(400);
    const auto source = random.below(from.size() - size), destination = random.below(to.size() - size);
    const std::byte before{static_cast<unsigned char>(i)};
    std::fill(to.begin(), to.end(), before);
    streamed_copy(to.data() + destination, from.data() + source, size);
    end_streamed_copies();
    bool right = true;
    for (std::size_t at = 0; at < to.size(); ++at) {
      const bool inside = at >= destination && at < destination + size;
      right &= to[at] == (inside ? from[source + at - destination] : before);
    }
    INFO(size, " bytes from ", source, " to ", destination);
    REQUIRE(right);
  }
}
