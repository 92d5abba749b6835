#include <hydrogen/hydrogen.hpp>

#include "../data/files.hpp"
#include "local_session.hpp"
#include <doctest/doctest.h>

#include <numeric>

using namespace hydrogen;
using tests::local_session;
using tests::temporary_file;

namespace {

using numbers = std::vector<std::int64_t>;

std::int64_t scale(std::int64_t x, std::int64_t by) {
  return x * by;
}

struct options {
  std::int64_t add = 0;
  std::vector<std::string> names;
};

struct fixture {
  local_session session;
  context ctx{session, {"a", "b"}};
};

numbers iota(std::int64_t n) {
  numbers v(static_cast<std::size_t>(n));
  std::iota(v.begin(), v.end(), 0);
  return v;
}

template <class F>
error error_of(F&& f) {
  try {
    f();
  } catch (const failure& e) {
    return e.cause() != nullptr ? e.cause()->cause : e.reason();
  }
  return {errc::none, {}, {}, {}};
}

}  // namespace

TEST_CASE_FIXTURE(fixture, "sources give their rows in order, for any number of partitions") {
  CHECK(ctx.args() == std::vector<std::string>{"a", "b"});
  for (const std::uint32_t p : {0u, 1u, 3u, 8u, 20u}) {
    CHECK(ctx.range(17, {.partitions = p}).collect() == iota(17));
    CHECK(ctx.range(0, {.partitions = p}).collect().empty());
    CHECK(ctx.parallelize(iota(17), {.partitions = p}).collect() == iota(17));
    const std::vector<std::string> texts{"a", "", "ccc"};
    CHECK(ctx.parallelize(texts, {.partitions = p}).collect() == texts);
    const temporary_file file("x\ny\r\n\nz");
    CHECK(ctx.read_text(file.path(), {.partitions = p}).collect() == std::vector<std::string>{"x", "y", "", "z"});
    CHECK(ctx.read_text(std::vector{file.path(), file.path()}, {.partitions = p}).count() == 8);
  }
  CHECK(ctx.range(-3, 2).collect() == numbers{-3, -2, -1, 0, 1});
  CHECK(ctx.range(5, 2).count() == 0);
  CHECK(ctx.parallelize({1.5, 2.5}).sum() == 4.0);
  CHECK(ctx.range(1000).partition_count() == 8);
  CHECK(ctx.range(3).partition_count() == 3);
}

TEST_CASE_FIXTURE(fixture, "transformations do what they say, and one closed chain is one operator") {
  const auto chain = ctx.range(20)
                         .map(fn<scale>, std::int64_t{3})
                         .filter([](std::int64_t x, std::int64_t m) { return x % m == 0; }, std::int64_t{2})
                         .flat_map(
                             [](std::int64_t x, emitter<std::int64_t>& out, const options& o) {
                               out(x);
                               out(x + o.add);
                             },
                             options{1, {"unused"}});
  numbers want;
  for (std::int64_t i = 0; i < 20; ++i) {
    if (i * 3 % 2 == 0) want.push_back(i * 3), want.push_back(i * 3 + 1);
  }
  CHECK(chain.collect() == want);
  REQUIRE(session.last_graph.stages.size() == 1);
  CHECK(session.last_graph.stages[0].chain.size() == 1);
  CHECK(session.last_graph.stages[0].label == "range > map > filter > flat_map");
  CHECK(session.last_graph.label.find("collect at dataset.cpp:") == 0);
  CHECK(chain.flat_map([](std::int64_t x) { return std::vector<std::int64_t>{x, -x}; }).count() == 2 * want.size());
  CHECK(chain.flat_map<std::string>([](auto x, auto& out) { out(std::to_string(x)); }).first() == "0");
}

TEST_CASE_FIXTURE(fixture, "closing a chain after each step changes nothing but the number of operators") {
  const auto fused = ctx.range(3000)
                         .map([](std::int64_t x) { return x * 7 % 1000; })
                         .filter([](std::int64_t x) { return x % 3 != 0; })
                         .map([](std::int64_t x) { return std::pair(std::to_string(x), x); })
                         .flat_map([](const std::pair<std::string, std::int64_t>& p) {
                           return std::vector{p.first, p.first + "!"};
                         })
                         .collect();
  dataset<std::int64_t> a = ctx.range(3000);
  dataset<std::int64_t> b = a.map([](std::int64_t x) { return x * 7 % 1000; });
  dataset<std::int64_t> c = b.filter([](std::int64_t x) { return x % 3 != 0; });
  dataset<std::pair<std::string, std::int64_t>> d =
      c.map([](std::int64_t x) { return std::pair(std::to_string(x), x); });
  dataset<std::string> e = d.flat_map([](const std::pair<std::string, std::int64_t>& p) {
    return std::vector{p.first, p.first + "!"};
  });
  for (const std::size_t bytes : {4096, 20'000, 1 << 20}) {
    session.block_bytes = bytes;
    CHECK(e.collect() == fused);
  }
  CHECK(session.last_graph.stages.size() == 1);
  CHECK(session.last_graph.stages[0].chain.size() == 5);
}

TEST_CASE_FIXTURE(fixture, "a loop over a dataset variable works") {
  dataset<std::int64_t> d = ctx.range(10);
  for (int i = 1; i <= 5; ++i) d = d.map([](std::int64_t x, int k) { return x + k; }, i);
  CHECK(d.sum() == 45 + 10 * 15);
}

TEST_CASE_FIXTURE(fixture, "rows of text reach functions as views or as strings, generic ones as strings") {
  const temporary_file file("b\na\n\nb");
  const auto lines = ctx.read_text(file.path());
  CHECK(lines.map([](const std::string& s) { return s + "."; }).collect() ==
        std::vector<std::string>{"b.", "a.", ".", "b."});
  CHECK(lines.map([](std::string_view s) { return s.size(); }).sum() == 3);
  CHECK(lines.map([](const auto& s) { return std::pair(s, 1); }).collect()[3] == std::pair<std::string, int>("b", 1));
  CHECK(lines.filter([](std::string_view s) { return s == "b"; }).collect() == std::vector<std::string>{"b", "b"});
  CHECK(lines.reduce([](std::string a, std::string_view b) { return a + std::string(b); }) == "bab");
}

TEST_CASE_FIXTURE(fixture, "map_partitions sees each partition whole, with or without steps before it") {
  const auto sizes =
      ctx.range(10, {.partitions = 3}).map([](std::int64_t x) { return x; }).map_partitions([](rows<std::int64_t> r) {
        return r.size();
      });
  CHECK(sizes.collect() == std::vector<std::uint64_t>{3, 3, 4});
  dataset<std::int64_t> closed = ctx.range(10, {.partitions = 3});
  const auto firsts = closed.map_partitions(
      [](const rows<std::int64_t>& r, emitter<std::int64_t>& out, int times) {
        for (int i = 0; i < times; ++i) out(r.contiguous().front());
      },
      2);
  CHECK(firsts.collect() == numbers{0, 0, 3, 3, 6, 6});
  CHECK(ctx.read_text(temporary_file("a\nbb\n").path(), {.partitions = 1}).partition_count() == 1);
}

TEST_CASE_FIXTURE(fixture, "actions on no rows: count, sum and take answer, the others say why they cannot") {
  const auto none = ctx.range(10).filter([](std::int64_t) { return false; });
  CHECK(none.count() == 0);
  CHECK(none.sum() == 0);
  CHECK(none.take(3).empty());
  CHECK(error_of([&] { none.first(); }).what == "first of a dataset without rows");
  CHECK(error_of([&] { none.mean(); }).what == "mean of a dataset without rows");
  CHECK(error_of([&] { none.reduce([](std::int64_t a, std::int64_t b) { return a + b; }); }).code == errc::bad_input);
}

TEST_CASE_FIXTURE(fixture, "actions give what a plain loop gives") {
  const auto d = ctx.range(1000).map([](std::int64_t x) { return static_cast<double>(x) / 4; });
  CHECK(d.count() == 1000);
  CHECK(d.sum() == 999 * 1000 / 8.0);
  CHECK(d.mean() == 999 / 8.0);
  CHECK(d.first() == 0);
  CHECK(d.take(5) == std::vector<double>{0, 0.25, 0.5, 0.75, 1});
  CHECK(d.take(0).empty());
  CHECK(d.take(5000).size() == 1000);
  CHECK(d.reduce([](double a, double b) { return std::max(a, b); }) == 999 / 4.0);
  CHECK(ctx.range(10)
            .filter([](std::int64_t x) { return x > 4; })
            .reduce([](std::int64_t a, std::int64_t b, std::int64_t c) { return a + b + c; }, std::int64_t{100}) ==
        35 + 400);
  CHECK(ctx.range(4).map([](std::int64_t x) { return x > 0; }).mean() == 0.75);
}

TEST_CASE_FIXTURE(fixture, "a split is a partition of the rows, the same for any block size, and follows its weights") {
  const auto [a, b, c] = ctx.range(30'000).split({3, 0, 1}, 7);
  const auto left = a.collect();
  const auto right = c.collect();
  CHECK(b.count() == 0);
  numbers all = left;
  all.insert(all.end(), right.begin(), right.end());
  std::sort(all.begin(), all.end());
  CHECK(all == iota(30'000));
  CHECK(std::abs(static_cast<double>(left.size()) - 22'500) < 400);
  const auto [d, e] = ctx.range(30'000).split({0.5, 0.5}, 8);
  CHECK(d.collect() != ctx.range(30'000).split({0.5, 0.5}, 9)[0].collect());
  dataset<std::int64_t> closed = ctx.range(30'000);
  session.block_bytes = 4096;
  CHECK(closed.split({3, 0, 1}, 7)[0].collect() == left);
  CHECK(error_of([&] { closed.split({1, -1}, 0); }).code == errc::bad_input);
}

TEST_CASE_FIXTURE(fixture, "an exception of a user function ends the action with its text") {
  const auto d = ctx.range(100).map([](std::int64_t x) {
    if (x == 50) throw std::runtime_error("fifty");
    return x;
  });
  const auto e = error_of([&] { d.collect(); });
  CHECK(e.code == errc::task_failed);
  CHECK(e.what == "std::runtime_error: fifty");
}

TEST_CASE_FIXTURE(fixture, "a result above the limit is refused with both sizes") {
  session.result_limit = 1000;
  CHECK(ctx.range(125).collect().size() == 125);
  const auto e = error_of([&] { ctx.range(1000).collect(); });
  CHECK(e.code == errc::over_limit);
  CHECK(e.what == "the result has 2000 bytes so far, 1000 is the limit");
}

TEST_CASE_FIXTURE(fixture, "large arguments go through the session, small ones inline") {
  const std::vector<double> model(100'000, 2.0);
  const auto d = ctx.range(10).map(
      [](std::int64_t x, const std::vector<double>& m) { return m[static_cast<std::size_t>(x)]; }, model);
  CHECK(d.sum() == 20);
  CHECK(session.kept_arguments == 1);
  CHECK(d.map([](double x, const std::string& s) { return x + static_cast<double>(s.size()); }, "abc").sum() == 50);
  CHECK(ctx.range(10).map([](std::int64_t x, int k) { return x + k; }, 1).count() == 10);
  CHECK(session.kept_arguments == 2);
}

TEST_CASE_FIXTURE(fixture, "csv rows, with the error of a bad field") {
  struct row {
    std::string name;
    std::array<int, 2> xs;
  };
  const temporary_file file("name,a,b\nann,1,2\nbob,3,x\n");
  const auto e = error_of([&] { ctx.read_csv<row>(file.path(), {.header = true}).count(); });
  CHECK(e.message().starts_with(file.path() + ":3: column b: 'x' is not an integer in range"));
  CHECK(ctx.read_csv<row>(file.path(), {.header = true, .skip_bad_rows = true})
            .map([](const row& r) { return r.name + std::to_string(r.xs[1]); })
            .collect() == std::vector<std::string>{"ann2"});
  CHECK(error_of([&] { ctx.read_text("/nowhere"); }).code == errc::not_found);
}

TEST_CASE_FIXTURE(fixture, "a cached dataset is computed once and forgotten with its last handle") {
  {
    const auto d = ctx.range(10).map([](std::int64_t x) { return x + 1; }).cache();
    CHECK(d.sum() == 55);
    const auto tasks = session.tasks_run;
    CHECK(d.map([](std::int64_t x) { return 2 * x; }).sum() == 110);
    CHECK(session.tasks_run == tasks + 8);
    CHECK(session.last_graph.stages.size() == 2);
    CHECK(session.forgotten.empty());
  }
  CHECK(session.forgotten.size() == 1);
}

TEST_CASE("a dataset that outlives its context says so") {
  local_session session;
  std::optional<dataset<std::int64_t>> d;
  {
    context ctx(session, {});
    d = ctx.range(3);
  }
  CHECK(error_of([&] { d->count(); }).what == "a dataset was used after its context had ended");
}

TEST_CASE_FIXTURE(fixture, "what tasks need holds for the stage in which it was said, and for no other") {
  const demand gpu{{0, {{"gpu", 1, 2}}}, {}, placement::pack}, ssd{{100, {}}, {"ssd"}, placement::pack};
  const auto to_pair = [](std::int64_t x) { return std::pair(x % 3, x); };
  const auto add = [](std::int64_t a, std::int64_t b) { return a + b; };
  const auto pairs = ctx.range(10).needs(gpu).map(to_pair).reduce_by_key(add);
  CHECK(pairs.collect().size() == 3);
  REQUIRE(session.last_graph.stages.size() == 2);
  CHECK(session.last_graph.stages[0].needs == gpu);
  CHECK(session.last_graph.stages[1].needs == demand{});
  // A closed chain is joined by what follows in its stage.
  const dataset<std::int64_t> numbers_of = ctx.range(10).map([](std::int64_t x) { return x + 1; }).needs(ssd);
  CHECK(numbers_of.needs(gpu).map([](std::int64_t x) { return x; }).sum() == 55);
  REQUIRE(session.last_graph.stages.size() == 1);
  CHECK(session.last_graph.stages[0].needs == both(ssd, gpu));
  // A gang has its own.
  barrier_options gang{.ranks = 2};
  gang.needs = ssd;
  const auto of_ranks = ctx.range(10).needs(gpu).barrier(gang).map_partitions(
      [](barrier_context& g, rows<std::int64_t>) { return static_cast<std::int64_t>(g.rank()); });
  CHECK(of_ranks.map([](std::int64_t x) { return x; }).collect() == numbers{0, 1});
  REQUIRE(session.last_graph.stages.size() == 3);
  CHECK(session.last_graph.stages[0].needs == gpu);
  CHECK(session.last_graph.stages[1].needs == ssd);
  CHECK(session.last_graph.stages[2].needs == demand{});
}

TEST_CASE_FIXTURE(fixture, "needs that make no sense are refused where they are said") {
  const auto says = [&](const demand& what) { return error_of([&] { (void)ctx.range(3).needs(what); }); };
  CHECK(says({{0, {{"gpu", 0}}}, {}, placement::pack}).what == "0 devices of the kind gpu");
  CHECK(says({{}, {}, placement::one_node}).what == "only the ranks of a gang can be placed");
  barrier_options gang{.ranks = 2};
  gang.needs.each.devices = {{"gpu", 1, 0}};
  const auto why = error_of([&] { (void)ctx.range(3).barrier(gang); });
  CHECK(why.code == errc::bad_input);
  CHECK(why.what == "devices of the kind gpu shared by 0 slots");
}
