#include <hydrogen/base/random.hpp>
#include <hydrogen/data/line_reader.hpp>

#include "files.hpp"
#include <doctest/doctest.h>

using namespace hydrogen;
using namespace hydrogen::data;
using tests::temporary_file;

namespace {

/// The lines as a person would cut them.
std::vector<std::string> reference(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    auto line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    lines.emplace_back(line);
  }
  return lines;
}

std::vector<std::string> read(const file_part& part, bool quoted = false, std::size_t buffer = 16) {
  auto reader = line_reader::open(part, quoted, buffer);
  REQUIRE(reader);
  std::vector<std::string> lines;
  std::string_view line;
  while (reader->next(line)) lines.emplace_back(line);
  return lines;
}

std::vector<std::string> read_parts(const std::vector<file_part>& parts, bool quoted = false) {
  std::vector<std::string> all;
  for (const auto& p : parts) {
    for (auto& line : read(p, quoted)) all.push_back(std::move(line));
  }
  return all;
}

}  // namespace

TEST_CASE("cut at any offset, each line is read exactly once") {
  for (const std::string text : {"one\ntwo\n\nfour\r\n\r\nlast", "a\n", "\n", "\n\n\n", "no end", "x\r\ny", "\r\n",
                                 "a very long line that does not fit\nb\n", ""}) {
    const temporary_file file(text);
    const auto size = text.size();
    for (std::uint64_t a = 0; a <= size; ++a) {
      for (std::uint64_t b = a; b <= size; ++b) {
        const std::vector<file_part> parts{
            {file.path(), size, 0, a}, {file.path(), size, a, b}, {file.path(), size, b, size}};
        CHECK(read_parts(parts) == reference(text));
      }
    }
  }
}

TEST_CASE("random bytes in random parts equal the reference") {
  random_source random(5);
  for (int round = 0; round < 200; ++round) {
    std::string text;
    const auto n = random.below(400);
    for (std::uint64_t i = 0; i < n; ++i)
      text += random.chance(0.1) ? '\n' : random.chance(0.05) ? '\r' : static_cast<char>(random());
    const temporary_file file(text);
    const auto parts = cut_file(file.path(), static_cast<std::uint32_t>(1 + random.below(12)));
    REQUIRE(parts);
    CHECK(read_parts(*parts) == reference(text));
  }
}

TEST_CASE("records with quoted line ends are never cut, whatever the number of parts") {
  random_source random(6);
  for (int round = 0; round < 200; ++round) {
    std::string text;
    std::vector<std::string> records;
    const auto n = random.below(20);
    for (std::uint64_t i = 0; i < n; ++i) {
      auto record = std::to_string(i);
      if (random.chance(0.5)) record += ",\"x\n\"\"y\"\"\r\nz\"";
      records.push_back(record);
      text += record + (i + 1 < n || random.chance(0.5) ? "\n" : "");
    }
    const temporary_file file(text);
    const auto parts = cut_file(file.path(), static_cast<std::uint32_t>(1 + random.below(40)), true);
    REQUIRE(parts);
    CHECK(read_parts(*parts, true) == records);
  }
}

TEST_CASE("an empty file is one part without lines, and the size decides about parts") {
  const temporary_file empty("");
  const auto parts = cut_file(empty.path());
  REQUIRE(parts);
  CHECK(parts->size() == 1);
  CHECK(read(parts->front()).empty());
  const temporary_file big(std::string(9 << 20, 'x'));
  CHECK(cut_file(big.path())->size() == 2);
  CHECK(cut_file(big.path(), 5)->size() == 5);
}

TEST_CASE("a missing file, a directory, and a file of another size are clear errors") {
  CHECK(cut_file("/nowhere/at/all").error().code == errc::not_found);
  CHECK(cut_file("/tmp").error().code == errc::bad_input);
  temporary_file file("12345");
  const auto parts = cut_file(file.path());
  REQUIRE(parts);
  file.write("123");
  const auto reader = line_reader::open(parts->front());
  REQUIRE_FALSE(reader);
  CHECK(reader.error().code == errc::mismatch);
  CHECK(reader.error().what.find("3 bytes here, but had 5") != std::string::npos);
}

TEST_CASE("a line number is 1 plus the line ends before") {
  const temporary_file file("a\nb\nc\n");
  CHECK(*line_reader::line_number(file.path(), 0) == 1);
  CHECK(*line_reader::line_number(file.path(), 2) == 2);
  CHECK(*line_reader::line_number(file.path(), 4) == 3);
}
