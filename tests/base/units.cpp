#include <hydrogen/base/units.hpp>

#include <doctest/doctest.h>

using namespace hydrogen;

TEST_CASE("sizes and durations are read with their unit") {
  CHECK(parse_size("0 B") == 0);
  CHECK(parse_size("64 MiB") == 64U << 20);
  CHECK(parse_size("1.5GiB") == std::uint64_t{3} << 29);
  CHECK(parse_size("3 KB") == 3000);
  CHECK(parse_duration("500 ms") == 500ms);
  CHECK(parse_duration("1.5 s") == 1500ms);
  CHECK(parse_duration("2min") == 2min);
  CHECK(parse_duration("1 h") == 1h);
}

TEST_CASE("what has no unit, another unit or no number is refused with an example") {
  for (const auto* text : {"", "64", "MiB", "64 mib", "-1 B", "1e3 B", "1 B B", "inf B", "nan B", " 1 B", "1 s"}) {
    CAPTURE(text);
    const auto size = parse_size(text);
    REQUIRE(!size);
    CHECK(size.error().hint.find("64 MiB") != std::string::npos);
  }
  for (const auto* text : {"", "5", "5 seconds", "-5 s", "5 B", "999999999 h"}) {
    CAPTURE(text);
    CHECK(!parse_duration(text));
  }
}

TEST_CASE("what is written is short and can be read back") {
  CHECK(format_size(0) == "0 B");
  CHECK(format_size(1023) == "1023 B");
  CHECK(format_size(64U << 20) == "64 MiB");
  CHECK(format_size(std::uint64_t{3} << 29) == "1.5 GiB");
  CHECK(format_duration(500ms) == "500 ms");
  CHECK(format_duration(2250ms) == "2.25 s");
  CHECK(format_duration(1h) == "60 min");
  for (const std::uint64_t size : {std::uint64_t{1}, std::uint64_t{4096}, std::uint64_t{5} << 40}) {
    CHECK(parse_size(format_size(size)) == size);
  }
  for (const duration d : {duration(0), duration(250us), duration(3s), duration(2h)}) {
    CHECK(parse_duration(format_duration(d)) == d);
  }
}
