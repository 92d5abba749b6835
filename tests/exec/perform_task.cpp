#include <hydrogen/base/log.hpp>
#include <hydrogen/exec/fused.hpp>
#include <hydrogen/exec/perform_task.hpp>

#include <doctest/doctest.h>

using namespace hydrogen;
using namespace hydrogen::exec;

namespace {

struct my_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class... Body>
struct fixture {
  data::block_store store{1 << 20};
  abort_word abort;
  task_environment lent{store, {}, nullptr, abort, {}, {}, {}, {}};
  std::vector<std::size_t> asked;
  task what;

  template <class B>
  void add(byte_buffer parameters = {}) {
    what.chain.push_back({value_or_throw(operator_registry::instance().id_of(registered<B>::descriptor())),
                          {std::move(parameters), {}}});
  }
  fixture() {
    lent.self.boot.value = 77;
    lent.self.endpoint = "there";
    lent.host = "host-1";
    lent.fetch = [this](std::span<const data::block_ref> refs) -> expected<std::vector<data::block_ptr>> {
      asked.push_back(refs.size());
      std::vector<data::block_ptr> out;
      for (const auto& r : refs) {
        auto b = store.get(r.info.id);
        if (!b) return fail(errc::disconnected, "executor gone");
        out.push_back(std::move(b));
      }
      return out;
    };
    what.id = {{1, 2}, 3, 4, 5, 6};
    what.label = "numbers";
    (add<Body>(), ...);
    what.partition_argument = {integer_range::argument(0, 1000), {}};
  }
  task_done done() {
    auto end = perform_task(what, lent);
    if (auto* f = std::get_if<task_failed>(&end)) FAIL(f->why.message());
    return std::get<task_done>(end);
  }
  task_failed failed() {
    auto end = perform_task(what, lent);
    REQUIRE(std::holds_alternative<task_failed>(end));
    CHECK(store.used() == before);
    return std::get<task_failed>(end);
  }
  std::uint64_t before = 0;
};

constexpr auto twice = [](std::int64_t x) { return 2 * x; };
constexpr auto throwing = [](std::int64_t x) {
  spdlog::info("row {}", x);
  if (x == 30) throw my_error("row 30 is bad");
  return x;
};
constexpr auto odd = [](std::int64_t) -> std::int64_t { throw 7; };

template <class F>
using source = fused<integer_range, block_sink<std::int64_t>, map_step<std::int64_t, F>>;
template <class F>
using next = fused<blocks_of<std::int64_t>, block_sink<std::int64_t>, map_step<std::int64_t, F>>;

}  // namespace

TEST_CASE("a task's outputs are in the store, named by the task, in order") {
  fixture<source<decltype(twice)>, next<decltype(twice)>> f;
  f.lent.block_bytes = data::min_block_bytes;
  const auto done = f.done();
  CHECK(done.at == data::process_ref{{77}, "there"});
  REQUIRE(done.outputs.size() == 2);
  std::int64_t n = 0;
  for (std::uint32_t i = 0; i < done.outputs.size(); ++i) {
    CHECK(done.outputs[i].id == data::block_id::output({1, 2}, 3, 4, 5, 6, i));
    const auto b = f.store.get(done.outputs[i].id);
    REQUIRE(b);
    CHECK(b->bytes.size() == done.outputs[i].bytes);
    for (const auto x : data::flat_rows<std::int64_t>(*b)) CHECK(x == 4 * n++);
  }
  CHECK(n == 1000);
}

TEST_CASE(
    "outputs that are small together come with the answer and lie in no store; larger ones all lie in the store") {
  fixture<source<decltype(twice)>> f;
  f.lent.block_bytes = data::min_block_bytes;
  f.what.answer_with = 8000;
  auto done = f.done();
  REQUIRE(done.outputs.size() == 2);
  CHECK(f.store.size() == 0);
  std::int64_t n = 0;
  for (const auto& b : done.outputs) {
    REQUIRE(b.here);
    CHECK(b.here->bytes.size() == b.bytes);
    for (const auto x : data::flat_rows<std::int64_t>(*b.here)) CHECK(x == 2 * n++);
  }
  CHECK(n == 1000);
  f.what.answer_with = 7999;
  done = f.done();
  CHECK(f.store.size() == 2);
  for (const auto& b : done.outputs) CHECK_FALSE(b.here);
}

TEST_CASE("an exception of user code is a failed task with its type, text and last log lines") {
  start_logging("test", "off");
  fixture<source<decltype(throwing)>> f;
  const auto failed = f.failed();
  CHECK(failed.why.cause.code == errc::task_failed);
  CHECK(failed.why.cause.what.find("my_error: row 30 is bad") != std::string::npos);
  CHECK(failed.why.stage == "numbers");
  CHECK(failed.why.partition == 5);
  CHECK(failed.why.rank == -1);
  CHECK(failed.why.host == "host-1");
  CHECK(failed.executor.value == 77);
  REQUIRE(failed.why.last_lines.size() == 20);
  CHECK(failed.why.last_lines.back().find("row 30") != std::string::npos);
  fixture<source<decltype(odd)>> g;
  CHECK(g.failed().why.cause.what == "an exception of type int");
}

TEST_CASE("over the block budget: the error names the budget and what was asked, and nothing stays behind") {
  fixture<source<decltype(twice)>> f;
  f.what.partition_argument = {integer_range::argument(0, 1'000'000), {}};
  const auto failed = f.failed();
  CHECK(failed.why.cause.code == errc::over_limit);
  CHECK(failed.why.cause.what.find("of 1048576 bytes in use") != std::string::npos);
}

TEST_CASE("a set abort word ends the task with its reason") {
  fixture<source<decltype(twice)>> f;
  f.abort.set({errc::cancelled, "not needed any more", {}, {}});
  CHECK(f.failed().why.cause == error{errc::cancelled, "not needed any more", {}, {}});
}

TEST_CASE("inputs are fetched in bounded portions, each from one process; those that cannot be had are reported") {
  fixture<next<decltype(twice)>> f;
  f.store.drop_if([](const auto&) { return true; });
  auto& input = f.what.inputs.emplace_back();
  for (std::uint32_t i = 0; i < 150; ++i) {
    data::block_writer<std::int64_t> writer;
    writer.put(std::int64_t{i});
    const auto b = writer.take();
    const auto id = data::block_id::output({1, 2}, 3, 0, i, 0, 0);
    REQUIRE(f.store.put(id, b));
    input.push_back({{id, 1, 8, b->type_code, b->rows_are, 0}, {{i < 20 ? 1u : 2u}, {}}});
  }
  f.before = f.store.used();
  const auto done = f.done();
  CHECK(f.asked == std::vector<std::size_t>{20, 64, 64, 2});
  REQUIRE(done.outputs.size() == 1);
  CHECK(done.outputs[0].rows == 150);
  f.store.drop(done.outputs[0].id);
  f.store.drop(input[149].info.id);
  f.before -= 8;
  const auto failed = f.failed();
  CHECK(failed.why.cause.code == errc::disconnected);
  REQUIRE(failed.missing.size() == 2);
  CHECK(failed.missing[1] == input[149]);
}

TEST_CASE("an unknown library or offset is an error that says which") {
  fixture<source<decltype(twice)>> f;
  auto call = f.what.chain[0];
  call.op.offset += 1;
  f.what.chain = {call};
  CHECK(f.failed().why.cause.what.find("no operator at offset") != std::string::npos);
  call.op.library = {1, 2};
  f.what.chain = {call};
  const auto text = f.failed().why.cause.what;
  CHECK(text.find(to_string(hash128{1, 2})) != std::string::npos);
  CHECK(text.find(to_string(bind_program())) != std::string::npos);
}

TEST_CASE("parameters of another build are refused") {
  fixture<> f;
  f.add<source<decltype(twice)>>({std::byte{1}});
  CHECK(f.failed().why.cause.code == errc::mismatch);
}
