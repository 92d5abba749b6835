#include <hydrogen/hydrogen.hpp>

#include "folder.hpp"
#include "local_session.hpp"
#include <doctest/doctest.h>

using namespace hydrogen;
using tests::local_session;

namespace {

struct model {
  std::vector<double> w;
  std::array<float, 2> b{};
  double loss = 0;
  std::int64_t rows = 0;
  bool operator==(const model&) const = default;
};

/// Three steps of something that depends on the rows and on every rank.
model train(barrier_context& gang, rows<std::int64_t> part, int steps, bool replicated) {
  auto [first, m] = gang.restore_or(0, model{{0, 0, 0}, {}, 0, 0});
  for (auto step = first; step < steps; ++step) {
    model g{{0, 0, 0}, {}, 0, 0};
    for (const auto x : part) {
      g.w[static_cast<std::size_t>(x % 3)] += static_cast<double>(x) + m.w[0];
      g.b[0] += 1;
      g.loss += 0.5;
      ++g.rows;
    }
    gang.all_reduce(g);
    m = g;
    m.b[1] = static_cast<float>(step);
    gang.checkpoint(static_cast<std::uint64_t>(step + 1), m, {.replicated = replicated});
  }
  return m;
}

task_failure cause_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const failure& e) {
    REQUIRE(e.cause() != nullptr);
    return *e.cause();
  }
  FAIL("nothing was thrown");
  return {};
}

}  // namespace

TEST_CASE("a gang of any width sees all rows once, and its collectives agree") {
  for (const std::uint32_t ranks : {1u, 2u, 3u, 5u, 9u}) {
    local_session session;
    context ctx(session, {});
    const auto out = ctx.range(1000, {.partitions = 5})
                         .map([](std::int64_t x) { return x + 1; })
                         .barrier({.ranks = ranks})
                         .map_partitions(
                             [](barrier_context& gang, rows<std::int64_t> part, const std::string& text) {
                               gang.barrier();
                               std::int64_t sum = 0;
                               for (const auto x : part) sum += x;
                               const auto total = gang.all_reduce(std::int64_t{sum});
                               std::vector<float> most{static_cast<float>(gang.rank())};
                               gang.all_reduce(most, reduction::max);
                               const auto names = gang.all_gather(text + std::to_string(gang.rank()));
                               std::string said = gang.rank() == 0 ? text : "";
                               gang.broadcast(said);
                               double mean = gang.rank();
                               gang.all_reduce(mean, reduction::mean);
                               return std::tuple(gang.rank(), gang.size(), total, most[0], names.back() + said, mean,
                                                 gang.attempt(), gang.stop_requested());
                             },
                             "hello")
                         .collect();
    REQUIRE(out.size() == ranks);
    for (std::uint32_t r = 0; r < ranks; ++r) {
      CHECK(out[r] == std::tuple(r, ranks, std::int64_t{500'500}, static_cast<float>(ranks - 1),
                                 "hello" + std::to_string(ranks - 1) + "hello", (ranks - 1) / 2.0, 0u, false));
    }
    REQUIRE(session.last_graph.stages.size() == 2);
    CHECK(session.last_graph.stages[1].kind == plan::stage_kind::barrier);
    CHECK(session.last_graph.stages[1].partitions == ranks);
  }
}

TEST_CASE("a gang passes values and numbers between some of its ranks, in its own memory, and later") {
  local_session session;
  context ctx(session, {});
  constexpr std::uint32_t ranks = 4;
  const auto out = ctx.range(4, {.partitions = 1})
                       .barrier({.ranks = ranks})
                       .map_partitions([](barrier_context& gang, rows<std::int64_t>) {
                         const auto me = static_cast<std::int32_t>(gang.rank());
                         struct narrow {
                           half h;
                           std::array<bfloat16, 2> b;
                           std::int32_t n = 0;
                         };
                         narrow x{half(1.5f), {bfloat16(2.0f), bfloat16(4.0f)}, me};
                         gang.reduce(x.n, 3);
                         gang.all_reduce(x.h);
                         std::vector<bfloat16> b(x.b.begin(), x.b.end());
                         gang.all_reduce(b, reduction::product);

                         auto shared = gang.buffer<float>(9000);
                         std::fill(shared.begin(), shared.end(), 1.0f);
                         auto open = gang.all_reduce_async(shared.span());
                         open.wait();
                         gang.reduce_scatter(shared.span(), reduction::max);
                         gang.all_gather(shared.span());

                         auto side = gang.group({gang.rank() % 2, gang.rank() % 2 + 2});
                         const auto names = side.all_gather("rank " + std::to_string(gang.rank()));
                         std::string from_left;
                         if (side.rank() == 0) side.send(names, 1);
                         if (side.rank() == 1) from_left = side.receive<std::vector<std::string>>(0)[0];

                         const auto all = gang.gather(me * me, 2);
                         const auto mine = gang.scatter(all, 2);
                         const auto crossed = gang.all_to_all(std::vector<std::int32_t>{me, me + 10, me + 20, me + 30});
                         return std::tuple(x.n, static_cast<float>(x.h), static_cast<float>(b[1]), shared[8999],
                                           from_left, all.size(), mine, crossed);
                       })
                       .collect();
  REQUIRE(out.size() == ranks);
  for (std::int32_t r = 0; r < 4; ++r) {
    const std::vector<std::int32_t> crossed{10 * r, 10 * r + 1, 10 * r + 2, 10 * r + 3};
    const auto left = r >= 2 ? "rank " + std::to_string(r - 2) : std::string();
    CHECK(out[static_cast<std::size_t>(r)] ==
          std::tuple(r == 3 ? 6 : r, 6.0f, 256.0f, 4.0f, left, std::size_t{r == 2 ? 4u : 0u}, r * r, crossed));
  }
}

TEST_CASE("the outputs of a gang are kept: a second job does not train again, and they go with the last handle") {
  local_session session;
  context ctx(session, {});
  {
    const auto d =
        ctx.range(10)
            .barrier({.ranks = 2})
            .map_partitions([](barrier_context& gang, const rows<std::int64_t>& part, emitter<std::int64_t>& out) {
              for (const auto x : part) out(x * 10 + gang.rank());
            });
    CHECK(d.count() == 10);
    CHECK(d.first() == 0);
    CHECK(d.map([](std::int64_t x) { return x % 10; }).sum() == 5);
    CHECK(session.gangs_run == 1);
  }
  CHECK(session.forgotten.size() == 1);
}

TEST_CASE(
    "checkpoints are reported, those the job may go back to are kept, and an attempt that restores ends with the same "
    "model") {
  for (const bool replicated : {false, true}) {
    const tests::folder f;
    local_session session;
    session.storage_dir = f.path;
    session.known = {4, 0};
    context ctx(session, {});
    const auto run = [&] {
      return ctx.range(300, {.partitions = 3}).barrier({.ranks = 3}).map_partitions(fn<train>, 5, replicated).collect();
    };
    const auto want = run();
    REQUIRE(want.size() == 3);
    CHECK(want[0] == want[2]);
    CHECK(session.checkpoints.size() == (replicated ? 5u : 15u));
    CHECK(f.files() == (replicated ? 2u : 6u));  // steps 4 and 5

    // As the job machine would say it after the attempt was lost: all ranks restore step 4.
    exec::restore_point point{4, {{1}, 1001}, replicated, {}};
    point.pieces.resize(replicated ? 1 : 3);
    for (const auto& c : session.checkpoints) {
      if (c.step == 4) point.pieces[c.id.partition] = c.piece;
    }
    std::filesystem::rename(f.path + "/" + to_string(session.run()) + "/j1-s1-0",
                            f.path + "/" + to_string(session.run()) + "/j2-s1-0");
    session.restore = point;
    session.checkpoints.clear();
    CHECK(run() == want);
    CHECK(session.checkpoints.size() == (replicated ? 1u : 3u));
    session.restore->pieces[0].low ^= 1;
    std::filesystem::rename(f.path + "/" + to_string(session.run()) + "/j2-s1-0",
                            f.path + "/" + to_string(session.run()) + "/j3-s1-0");
    const auto damaged = cause_of([&] { run(); });
    CHECK(damaged.cause.what.find("damaged") != std::string::npos);
    CHECK(damaged.cause.where.find("step-4/rank-0") != std::string::npos);
  }
}

TEST_CASE("as long as the job has not said that it knows a checkpoint, the older ones stay") {
  const tests::folder f;
  local_session session;
  session.storage_dir = f.path;
  context ctx(session, {});
  ctx.range(300, {.partitions = 3}).barrier({.ranks = 3}).map_partitions(fn<train>, 5, false).collect();
  CHECK(f.files() == 15u);
}

TEST_CASE("a state that is not the same on all ranks is no replicated checkpoint") {
  const tests::folder f;
  local_session session;
  session.storage_dir = f.path;
  context ctx(session, {});
  const auto cause = cause_of([&] {
    ctx.range(4)
        .barrier({.ranks = 3})
        .map_partitions([](barrier_context& gang, const rows<std::int64_t>&) {
          gang.checkpoint(1, gang.rank() == 2 ? 1.5 : 1.0, {.replicated = true});
          return 0;
        })
        .count();
  });
  CHECK(cause.cause.code == errc::mismatch);
  CHECK(cause.cause.what.find("differs from that of rank 0 in rank 2") != std::string::npos);
  CHECK(f.files() == 0);
}

TEST_CASE("a rank that throws is named, and the others do not wait for it") {
  local_session session;
  context ctx(session, {});
  const auto cause = cause_of([&] {
    ctx.range(4)
        .barrier({.ranks = 3})
        .map_partitions([](barrier_context& gang, const rows<std::int64_t>&) {
          if (gang.rank() == 1) throw std::runtime_error("no gradient");
          gang.barrier();
          return 0;
        })
        .count();
  });
  CHECK(cause.rank == 1);
  CHECK(cause.cause.what == "std::runtime_error: no gradient");
}

TEST_CASE("a checkpoint needs a place, and a gang at least one rank") {
  local_session session;
  context ctx(session, {});
  const auto cause = cause_of([&] { ctx.range(3).barrier({.ranks = 2}).map_partitions(fn<train>, 1, true).count(); });
  CHECK(cause.cause.hint.find("storage.dir") != std::string::npos);
  CHECK_THROWS_AS(ctx.range(3).barrier({.ranks = 0}), failure);
}
