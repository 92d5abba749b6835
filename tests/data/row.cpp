#include <hydrogen/base/random.hpp>
#include <hydrogen/data/codec.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <limits>

using namespace hydrogen;
using namespace hydrogen::data;

namespace {

enum class color : std::uint8_t { red, green };
struct point {
  std::uint8_t tag;  // padding follows
  double x;
  bool operator==(const point&) const = default;
};
struct digit {
  std::array<float, 64> pixels;
  std::uint8_t label;
};
struct nested {
  point p;
  std::pair<std::uint8_t, std::int32_t> q;
  std::array<point, 2> both;
  bool operator==(const nested&) const = default;
};
struct named {
  std::string name;
  std::vector<point> points;
  std::optional<std::string> note;
  std::variant<int, std::string> either;
  std::map<std::string, std::vector<bool>> table;
  std::unordered_map<int, int> fast;
  std::tuple<std::string, double> both;
  std::array<std::string, 2> texts;
  std::chrono::milliseconds took{};
  color c = color::red;
  bool operator==(const named&) const = default;
};
class hidden {
 public:
  hidden() = default;
  explicit hidden(int x) : x_(x) {}
  bool operator==(const hidden&) const = default;
  template <class I>
  friend auto inspect(I& f, hidden& h) {
    return f(h.x_, h.text_);
  }

 private:
  int x_ = 0;
  std::string text_ = "t";
};
struct with_pointer {
  int a;
  const char* p;
};
struct nothing {};
struct opaque {
  opaque() {}
  int x = 0;
};

static_assert(is_flat<int> && is_flat<color> && is_flat<point> && is_flat<nested> && is_flat<digit> &&
              is_flat<nothing>);
static_assert(is_flat<std::pair<int, double>> && is_flat<std::tuple<char, std::array<point, 3>>> &&
              is_flat<std::chrono::seconds>);
static_assert(!is_flat<std::string> && !is_flat<std::pair<std::string, int>> && !is_flat<named> && !is_flat<hidden> &&
              !is_flat<std::string_view>);
static_assert(is_row<named> && is_row<hidden> && is_row<std::vector<std::vector<std::string>>> && is_row<nothing>);
static_assert(row_problem_of<const char*> == row_problem::view && row_problem_of<with_pointer> == row_problem::view);
static_assert(row_problem_of<std::string_view> == row_problem::view &&
              row_problem_of<std::vector<std::span<int>>> == row_problem::view);
static_assert(row_problem_of<std::pair<int, std::shared_ptr<int>>> == row_problem::view);
static_assert(row_problem_of<opaque> == row_problem::unknown && row_problem_of<long double> == row_problem::unknown);
static_assert(has_padding<point> && has_padding<nested> && has_padding<digit> && !has_padding<std::pair<int, float>>);
static_assert(type_code<int> != type_code<unsigned> && type_code<point> != type_code<nested>);
static_assert(std::is_same_v<view_of<std::string>, std::string_view> && std::is_same_v<view_of<int>, int>);

named full() {
  return {"n",
          {{1, 2.5}, {3, -0.0}},
          "note",
          std::string("either"),
          {{"a", {true, false, true}}, {"b", {}}},
          {{1, 2}, {3, 4}},
          {"t", 1.5},
          {"x", ""},
          std::chrono::milliseconds(7),
          color::green};
}

template <class T>
void comes_back(const T& x) {
  const auto back = decode_value<T>(encode_value(x), "row");
  REQUIRE(back);
  CHECK(*back == x);
}

}  // namespace

TEST_CASE("a row of every kind comes back as it was written") {
  comes_back(42);
  comes_back(-1.5f);
  comes_back(true);
  comes_back(color::green);
  comes_back(std::string("a\0b", 3));
  comes_back(std::string());
  comes_back(std::pair(std::string("k"), 3.0));
  comes_back(std::tuple<std::string, int, std::vector<int>>("k", 3, {1, 2}));
  comes_back(std::vector<std::string>{"a", "", "c"});
  comes_back(std::vector<bool>{true, false});
  comes_back(std::optional<int>());
  comes_back(std::optional<int>(3));
  comes_back(std::variant<int, std::string>("x"));
  comes_back(point{1, 2.0});
  comes_back(nested{{1, 2}, {3, 4}, {{{5, 6}, {7, 8}}}});
  comes_back(hidden(9));
  comes_back(full());
  comes_back(std::vector<named>{full(), named{}});
  comes_back(std::array<std::vector<point>, 2>{{{{1, 2}}, {}}});
  comes_back(std::vector<double>{std::numeric_limits<double>::infinity(), -0.0});
}

TEST_CASE("padding is written as zeros whatever memory held before") {
  const auto bytes_of = [](std::byte noise) {
    alignas(nested) std::byte memory[sizeof(nested)];
    std::memset(memory, static_cast<int>(noise), sizeof memory);
    auto* x = new (memory) nested;
    x->p.tag = 1;
    x->p.x = 2;
    x->q.first = 3;
    x->q.second = 4;
    for (auto& p : x->both) p.tag = 5, p.x = 6;
    std::array<std::byte, sizeof(nested)> out;
    out.fill(noise);
    copy_flat(out.data(), *x);
    return out;
  };
  CHECK(bytes_of(std::byte{0xaa}) == bytes_of(std::byte{0x55}));
  CHECK(bytes_of(std::byte{0xaa})[1] == std::byte{0});
}

TEST_CASE("every truncation of a row is an error, and so are bytes that are left over") {
  auto bytes = encode_value(full());
  for (std::size_t n = 0; n < bytes.size(); ++n) CHECK_FALSE(decode_value<named>(byte_view(bytes).first(n), "row"));
  bytes.push_back({});
  CHECK_FALSE(decode_value<named>(bytes, "row"));
}

TEST_CASE("damaged rows never crash") {
  const auto good = encode_value(full());
  random_source random(11);
  for (int i = 0; i < 20'000; ++i) {
    auto bytes = good;
    for (int k = 0; k < 3; ++k) {
      // Truth values stay what they are: a bool of another byte is not a value at all.
      const auto at = random.below(40);
      bytes[at] = static_cast<std::byte>(random());
    }
    const auto back = decode_value<named>(bytes, "row");
    if (back) CHECK(back->points.size() <= bytes.size());
  }
}

TEST_CASE("a view of text is read without a copy and written like the text") {
  const std::pair<std::string, int> owned("word", 5);
  const auto bytes = encode_value(owned);
  CHECK(bytes == encode_value(std::pair<std::string_view, int>("word", 5)));
  std::pair<std::string_view, int> view;
  row_reader in(bytes);
  in.get(view);
  CHECK(view.first == "word");
  CHECK(reinterpret_cast<const std::byte*>(view.first.data()) == bytes.data() + 4);
  CHECK(own<std::pair<std::string, int>>(view) == owned);
}
