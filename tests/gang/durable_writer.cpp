#include <hydrogen/gang/durable_writer.hpp>

#include "folder.hpp"
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <random>

using namespace hydrogen;
using gang::durable_writer;

namespace {

constexpr auto block = durable_writer::block;

/// An empty file.
struct scratch_file : tests::folder {
  scratch_file() { write("written", ""); }
  byte_buffer content() const {
    std::ifstream in(where, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    const auto bytes = as_byte_view(text);
    return {bytes.begin(), bytes.end()};
  }
  const std::string where = file("written");
};

byte_buffer some_bytes(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  byte_buffer bytes(n);
  for (auto& b : bytes) b = static_cast<std::byte>(1 + random() % 255);
  return bytes;
}

bool is_zero(byte_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{}; });
}

}  // namespace

TEST_CASE("what is written piece by piece, the last block again each time, is in the file; behind it are zeros") {
  const scratch_file file;
  auto writer = durable_writer::open(file.where);
  REQUIRE(writer);
  const auto all = some_bytes(100'000, 1);
  std::mt19937 random(2);
  for (std::size_t end = 0; end < all.size();) {
    const auto begin = end / block * block;
    end = std::min(all.size(), end + random() % 9'000);
    const auto zeros = random() % 4 == 0 ? random() % 20'000 : 0;
    REQUIRE(writer->write(begin, byte_view(all).subspan(begin, end - begin), zeros));
    const auto found = file.content();
    REQUIRE(found.size() >= end + zeros);
    REQUIRE(std::equal(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(end), found.begin()));
    REQUIRE(is_zero(byte_view(found).subspan(end)));
  }
}

TEST_CASE("where a file may not grow beyond the middle of a block, what ends before is written, the rest is an error") {
  const scratch_file file;
  auto writer = durable_writer::open(file.where);
  REQUIRE(writer);
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit within{2 * block + 1'001, before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &within) == 0);
  const auto all = some_bytes(3 * block, 3);
  const auto fits = writer->write(0, byte_view(all).first(2 * block + 1'001), 5'000);
  const auto content = file.content();
  const auto does_not = writer->write(2 * block, byte_view(all).subspan(2 * block, 1'002), 0);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(fits);
  CHECK(content.size() == 2 * block + 1'001);
  CHECK(std::equal(content.begin(), content.end(), all.begin()));
  REQUIRE_FALSE(does_not);
  CHECK(does_not.error().message().find(file.where) != std::string::npos);
  CHECK(writer->write(2 * block, byte_view(all).subspan(2 * block), 0));
  CHECK(file.content() == all);
}

TEST_CASE("a file that is not there is an error with its name") {
  const auto writer = durable_writer::open("/nowhere/journal");
  REQUIRE_FALSE(writer);
  CHECK(writer.error().message().find("/nowhere/journal") != std::string::npos);
}
