#include <hydrogen/base/bytes.hpp>
#include <hydrogen/base/ids.hpp>
#include <hydrogen/base/random.hpp>

#include <doctest/doctest.h>

using namespace hydrogen;

namespace {

struct sample {
  std::string name;
  std::vector<std::uint32_t> numbers;
  std::optional<request_id> request;
  std::variant<int, std::string> either;
  std::map<std::string, std::vector<std::string>> table;
  bool flag = false;
  error problem;
  bool operator==(const sample&) const = default;
  template <class I>
  friend auto inspect(I& f, sample& x) {
    return f(x.name, x.numbers, x.request, x.either, x.table, x.flag, x.problem);
  }
};

sample full() {
  return {"n",
          {1, 2, 3},
          request_id{{1, 2}, 3, 4, 5},
          std::string("text"),
          {{"k", {"a", "b"}}},
          true,
          {errc::io, "w", "x", "h"}};
}

}  // namespace

TEST_CASE("a value comes back as it was encoded") {
  const auto back = decode<sample>(encode(full()));
  REQUIRE(back);
  CHECK(*back == full());
}

TEST_CASE("every truncation of a message is an error") {
  const auto bytes = encode(full());
  for (std::size_t n = 0; n < bytes.size(); ++n) CHECK_FALSE(decode<sample>(byte_view(bytes).first(n)));
}

TEST_CASE("left-over bytes are an error") {
  auto bytes = encode(full());
  bytes.push_back(std::byte{0});
  CHECK_FALSE(decode<sample>(bytes));
}

TEST_CASE("damaged bytes never crash and never announce more than is there") {
  const auto good = encode(full());
  random_source random(42);
  for (int i = 0; i < 20'000; ++i) {
    auto bytes = good;
    for (int k = 0; k < 4; ++k) bytes[random.below(bytes.size())] = static_cast<std::byte>(random());
    auto back = decode<sample>(bytes);
    if (back) CHECK(back->numbers.size() <= bytes.size());
  }
}
