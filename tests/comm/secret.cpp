#include <hydrogen/comm/secret.hpp>

#include "folder.hpp"
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

using namespace hydrogen;
using namespace hydrogen::comm;

namespace {

void write_file(const std::string& path, const std::string& text, mode_t mode = 0600) {
  std::ofstream(path) << text;
  REQUIRE(chmod(path.c_str(), mode) == 0);
}

std::string hex(byte_view bytes) {
  std::string out;
  for (const auto b : bytes) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", std::to_integer<unsigned>(b));
    out += two;
  }
  return out;
}

}  // namespace

TEST_CASE("a saved secret is loaded as the same one, from a file that only its user can read") {
  const tests::folder f;
  const auto path = f.file("secret");
  const auto made = secret::random();
  REQUIRE(made.save_new(path));
  struct stat info {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  const auto loaded = secret::load(path);
  REQUIRE(loaded);
  CHECK(*loaded == made);
  CHECK_FALSE(secret::random() == made);
}

TEST_CASE("an existing secret file is never replaced") {
  const tests::folder f;
  const auto path = f.file("secret");
  const auto first = secret::random();
  REQUIRE(first.save_new(path));
  const auto again = secret::random().save_new(path);
  REQUIRE_FALSE(again);
  CHECK(again.error().code == errc::refused);
  CHECK(again.error().where == path);
  CHECK(secret::load(path).value() == first);
}

TEST_CASE("a secret file that others may read is refused with the command that helps") {
  const tests::folder f;
  for (const mode_t mode : {0640, 0604, 0660, 0644, 0610}) {
    const auto path = f.file("secret" + std::to_string(mode));
    write_file(path, std::string(64, 'a') + "\n", mode);
    const auto loaded = secret::load(path);
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().code == errc::refused);
    CHECK(loaded.error().where == path);
    CHECK(loaded.error().hint == "chmod 600 " + path);
  }
}

TEST_CASE("a missing secret file is not found, and its path is named") {
  const tests::folder f;
  const auto loaded = secret::load(f.file("none"));
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().code == errc::not_found);
  CHECK(loaded.error().where == f.file("none"));
}

TEST_CASE("a file with anything but 64 hexadecimal digits is not a secret") {
  const tests::folder f;
  const std::string good(64, '7');
  int n = 0;
  for (const auto& text : {std::string(), good.substr(1), good + "0", good + "\n\n", good.substr(1) + "g", "\n" + good,
                           std::string(100000, 'f')}) {
    const auto path = f.file("secret" + std::to_string(n++));
    write_file(path, text);
    const auto loaded = secret::load(path);
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().code == errc::bad_input);
  }
  write_file(f.file("plain"), good);
  CHECK(secret::load(f.file("plain")));
  write_file(f.file("line"), good + "\n");
  CHECK(secret::load(f.file("line")));
}

TEST_CASE("a folder or a named pipe in place of the secret file is refused at once") {
  const tests::folder f;
  REQUIRE(mkdir(f.file("folder").c_str(), 0700) == 0);
  CHECK(secret::load(f.file("folder")).error().code == errc::bad_input);
  REQUIRE(mkfifo(f.file("pipe").c_str(), 0600) == 0);
  CHECK(secret::load(f.file("pipe")).error().code == errc::bad_input);
}

TEST_CASE("proofs are HMAC-SHA256: test cases 2 and 4 of RFC 4231") {
  // Keys shorter than a block are padded with zeros, so a shorter key is one of 32 bytes that ends in zeros.
  secret::key jefe{};
  std::memcpy(jefe.data(), "Jefe", 4);
  CHECK(hex(secret::from_key(jefe).sign(as_byte_view("what do ya want for nothing?"))) ==
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  secret::key counting{};
  for (std::size_t i = 0; i < 25; ++i) counting[i] = static_cast<std::byte>(i + 1);
  CHECK(hex(secret::from_key(counting).sign(byte_buffer(50, std::byte{0xcd}))) ==
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
}
