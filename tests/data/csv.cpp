#include <hydrogen/data/csv.hpp>

#include "files.hpp"
#include <doctest/doctest.h>

using namespace hydrogen;
using namespace hydrogen::data;
using tests::temporary_file;

namespace {

struct sample {
  std::string name;
  std::array<double, 2> at;
  std::optional<int> age;
  bool good = false;
  bool operator==(const sample&) const = default;
};
struct outer {
  std::uint8_t a;
  std::pair<int, float> b;
  bool operator==(const outer&) const = default;
};

template <class T>
std::vector<T> read(const std::string& text, csv_options options = {}, std::uint32_t partitions = 1) {
  const temporary_file file(text);
  std::vector<T> rows;
  for (const auto& part : value_or_throw(cut_file(file.path(), partitions, options.multiline))) {
    csv_reader reader(part, options);
    for (T row{}; reader.next(row); row = T{}) rows.push_back(row);
  }
  return rows;
}

template <class T>
error problem(const std::string& text, csv_options options = {}) {
  const temporary_file file(text);
  try {
    csv_reader reader(value_or_throw(cut_file(file.path(), 1, options.multiline)).front(), options);
    for (T row{}; reader.next(row);) {
    }
  } catch (const failure& f) {
    auto e = f.reason();
    CHECK(e.where.starts_with(file.path()));
    e.where.erase(0, file.path().size());
    return e;
  }
  return {errc::none, {}, {}, {}};
}

}  // namespace

TEST_CASE("fields go to the fields of the row by position") {
  const std::vector<sample> want{{"ann", {1.5, -2e3}, 30, true}, {"", {0, 1}, std::nullopt, false}};
  CHECK(read<sample>("ann,1.5,-2e3,30,true\n,0, 1 ,,0\n") == want);
  CHECK(read<sample>("name,x,y,age,good\r\nann,1.5,-2e3,30,1\r\n,0,1,,false", {.header = true}) == want);
  CHECK(read<sample>("\xef\xbb\xbf"
                     "ann;1.5;-2e3;30;1\n\n;0;1;;false\n\n",
                     {.separator = ';'}) == want);
  CHECK(read<outer>("255,-7,0.5\n") == std::vector<outer>{{255, {-7, 0.5f}}});
  CHECK(read<std::array<int, 3>>("1,2,3\n4,+5,6\n") == std::vector<std::array<int, 3>>{{1, 2, 3}, {4, 5, 6}});
  CHECK(read<std::vector<int>>("1\n2,3\n") == std::vector<std::vector<int>>{{1}, {2, 3}});
  CHECK(read<double>("").empty());
  CHECK(read<double>("x\n", {.header = true}).empty());
}

TEST_CASE("quotes follow RFC 4180") {
  using row = std::array<std::string, 3>;
  CHECK(read<row>("a,\"b,c\",\"d\"\"e\"\n") == std::vector<row>{{"a", "b,c", "d\"e"}});
  CHECK(read<row>("\"\",\"\r\nx\n\",\"y\"\r\n1,2,3") == std::vector<row>{{"", "\r\nx\n", "y"}, {"1", "2", "3"}});
  CHECK(problem<row>("a,b\"c,d\n").what.find("a quote inside a field") != std::string::npos);
  CHECK(problem<row>("a,\"b\"c,d\n").what.find("after the closing quote") != std::string::npos);
  CHECK(problem<row>("a,b,\"never closed\n").what.find("not closed") != std::string::npos);
  CHECK(problem<row>("a,b,\"x\ny\"\n", {.multiline = false}).what.find("not closed") != std::string::npos);
}

TEST_CASE("rows are the same for any number of partitions, with quoted line ends and a header") {
  using row = std::pair<int, std::string>;
  std::string text = "n,text\n";
  std::vector<row> want;
  for (int i = 0; i < 50; ++i) {
    want.emplace_back(i, i % 3 == 0 ? "two\nlines" : "one");
    text += std::to_string(i) + (i % 3 == 0 ? ",\"two\nlines\"\n" : ",one\n");
  }
  for (std::uint32_t p = 1; p < 40; ++p) CHECK(read<row>(text, {.header = true}, p) == want);
}

TEST_CASE("a bad field names file, line, column and value") {
  auto e = problem<outer>("a,b,c\n1,2,3\n1,2.5,3\n", {.header = true});
  CHECK(e.code == errc::bad_input);
  CHECK(e.where == ":3: column b");
  CHECK(e.what == "'2.5' is not an integer in range");
  e = problem<outer>("1,2,x1\n");
  CHECK(e.where == ":1: column 3");
  CHECK(e.what == "'x1' is not a number");
  CHECK(problem<outer>("256,1,1\n").what == "'256' is not an integer from 0 to 255");
  CHECK(problem<outer>("-1,1,1\n").what == "'-1' is not an integer from 0 to 255");
  CHECK(problem<outer>("1,1,\n").what == "'' is not a number");
  CHECK(problem<sample>("a,1,2,3,maybe\n").what.find("truth value") != std::string::npos);
  e = problem<outer>("1,2\n");
  CHECK(e.where == ":1");
  CHECK(e.what == "has only 2 columns, the row takes more");
  CHECK(problem<outer>("1,2,3\n1,2,3,4\n").where == ":2");
  CHECK(problem<outer>("1,2,3,4\n").what == "has 4 columns, the row takes 3");
}

TEST_CASE("bad rows can be counted and left out") {
  const temporary_file file("1,2,3\nbad\n4,5,6\n7,x,9\n");
  csv_reader reader(value_or_throw(cut_file(file.path())).front(), {.skip_bad_rows = true});
  std::vector<outer> rows;
  for (outer row{}; reader.next(row);) rows.push_back(row);
  CHECK(rows == std::vector<outer>{{1, {2, 3}}, {4, {5, 6}}});
  CHECK(reader.skipped() == 2);
}
