// Each misuse of the dataset API has its own message: compiled here, one program with one error each.

#include "folder.hpp"
#include <doctest/doctest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <string>

namespace {

struct misuse {
  const char* code;
  const char* message;
};

const misuse cases[] = {
    {"int k = 1; (void)ctx.range(3).map([&](std::int64_t x) { return x + k; });", "must not capture"},
    {"(void)ctx.range(3).filter([=](std::int64_t) { return true; });", "must not capture"},
    {"(void)ctx.range(3).map(scale);", "write hydrogen::fn<scale>"},
    {"(void)ctx.range(3).map([](std::int64_t x, const std::string& s) { return x + s.size(); }, 5);",
     "the function of map() cannot be called with"},
    {"(void)ctx.range(3).map([](std::int64_t x) { (void)x; });", "the function of map() returns nothing"},
    {"(void)ctx.range(3).map([](std::int64_t) { return std::string_view(\"x\"); });",
     "a row must not be or hold a pointer"},
    {"(void)ctx.range(3).map([](std::int64_t) -> const char* { return nullptr; });",
     "a row must not be or hold a pointer"},
    {"(void)ctx.range(3).map([](std::int64_t) { return opaque(1); });", "this type cannot be a row"},
    {"int k = 1; (void)ctx.range(3).map([](std::int64_t x, int* p) { return x + *p; }, &k);",
     "an argument given after the function must not be or hold a pointer"},
    {"(void)ctx.range(3).reduce_by_key([](std::int64_t a, std::int64_t b) { return a + b; });",
     "reduce_by_key() needs rows that are std::pair"},
    {"(void)ctx.range(3).barrier({.ranks = 2}).map_partitions([](hydrogen::rows<std::int64_t>) { return 1; });",
     "the function after barrier() cannot be called with"},
    {"(void)ctx.range(3).reduce([](std::int64_t a) { return a; });", "the function of reduce() must combine two rows"},
};

std::string compile(const std::string& file) {
  const auto root = std::filesystem::path(__FILE__).parent_path().parent_path().parent_path();
  const auto command = "c++ -std=c++20 -fsyntax-only -fmax-errors=200 -DSPDLOG_COMPILED_LIB -DSPDLOG_FMT_EXTERNAL -I" +
                       (root / "libcore").string() + " -I" + (root / "gpu").string() + " " + file + " 2>&1";
  std::string out;
  auto* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::array<char, 4096> chunk;
  while (const auto n = std::fread(chunk.data(), 1, chunk.size(), pipe)) out.append(chunk.data(), n);
  out += pclose(pipe) == 0 ? "\ncompiled" : "\nrefused";
  return out;
}

/// All cases in one file, so that the headers are read once; `#line` tells the errors apart.
std::string source(bool with_cases) {
  std::string text =
      "#include <hydrogen/hydrogen.hpp>\n"
      "std::int64_t scale(std::int64_t x) { return x; }\n"
      "struct opaque { explicit opaque(int x) : x_(x) {} int x_; };\n";
  int n = 0;
  if (with_cases) {
    for (const auto& c : cases) {
      ++n;
      text += "#line 1 \"case" + std::to_string(n) + "\"\nvoid f" + std::to_string(n) + "(hydrogen::context& ctx) { " +
              c.code + " }\n";
    }
  }
  text +=
      "void good(hydrogen::context& ctx) { (void)ctx.range(3).map(hydrogen::fn<scale>).map([](std::int64_t x, int k) { "
      "return x + k; }, 1).count(); }\n";
  return text;
}

}  // namespace

TEST_CASE("each misuse has its own message") {
  const hydrogen::tests::folder folder;
  const auto good = compile(folder.write("good.cpp", source(false)));
  INFO(good);
  CHECK(good.ends_with("compiled"));
  const auto bad = compile(folder.write("bad.cpp", source(true)));
  CHECK(bad.ends_with("refused"));
  int n = 0;
  for (const auto& c : cases) {
    // From the first error that is required from this case to the next case's.
    ++n;
    const auto name = "case" + std::to_string(n) + ":";
    bool found = false;
    for (auto at = bad.find(c.message); at != std::string::npos && !found; at = bad.find(c.message, at + 1)) {
      // The note "required from here" that names the case stands in the lines before the message.
      const auto before = bad.rfind("error:", at);
      const auto block = bad.substr(before > 6000 ? before - 6000 : 0, before > 6000 ? 6000 : before);
      const auto last_error = block.rfind(" error: ");
      found = block.find(name, last_error == std::string::npos ? 0 : last_error) != std::string::npos;
    }
    INFO(c.code);
    CHECK(found);
  }
}
