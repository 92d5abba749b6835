#include <hydrogen/exec/checkpoint.hpp>

#include "folder.hpp"
#include <doctest/doctest.h>

#include <cstdio>
#include <filesystem>

using namespace hydrogen;
using namespace hydrogen::exec;

TEST_CASE("a piece comes back by its hash; a missing or damaged one is an error that names the file") {
  const tests::folder f;
  const auto path = checkpoint_path(f.path, {{1, 2}, 3, 4, 0}, {{1}, 9}, 7, 2);
  CHECK(path.find("/j3-s4-0/t1.9/step-7/rank-2") != std::string::npos);
  const auto bytes = byte_buffer(100'000, std::byte{5});
  REQUIRE(write_piece(path, bytes));
  CHECK_FALSE(std::filesystem::exists(path + ".part"));
  CHECK(*read_piece(path, content_hash(bytes)) == bytes);
  REQUIRE(write_piece(path, bytes));

  std::filesystem::resize_file(path, 99'999);
  const auto damaged = read_piece(path, content_hash(bytes));
  REQUIRE_FALSE(damaged);
  CHECK(damaged.error().where == path);
  CHECK(damaged.error().what.find("damaged") != std::string::npos);
  remove_piece(path);
  CHECK_FALSE(std::filesystem::exists(std::filesystem::path(path).parent_path()));
  remove_piece(path);
  const auto missing = read_piece(path, content_hash(bytes));
  CHECK(missing.error().code == errc::not_found);
  CHECK(missing.error().where == path);
  CHECK_FALSE(missing.error().hint.empty());
}

TEST_CASE("a place that cannot be written is an error") {
  CHECK(write_piece("/proc/nothing/step-1/rank-0", {}).error().code == errc::io);
}
