#include <hydrogen/hydrogen.hpp>

#include "folder.hpp"
#include "local_session.hpp"
#include <doctest/doctest.h>

using namespace hydrogen;
using tests::local_session;

namespace {

/// Takes steps from the last checkpoint that it finds, the first ones replicated; gives (world size, the step it began
/// with).
std::pair<std::uint32_t, int> steps(barrier_context& gang, const rows<std::int64_t>&, int last, int replicated) {
  const auto begun = gang.restore_or(0, 0.0).first;
  for (int step = begun; step < last; ++step) {
    gang.checkpoint(static_cast<std::uint64_t>(step + 1), 0.5 * step, {.replicated = step < replicated});
  }
  return {gang.size(), begun};
}

}  // namespace

TEST_CASE("a gang runs with the slots there are, within its bounds, and reads every row once") {
  for (const std::uint32_t slots : {1u, 2u, 3u, 4u, 5u, 8u, 20u}) {
    CAPTURE(slots);
    const auto width = std::clamp(slots, 2u, 8u);
    local_session session;
    session.slots = slots;
    context ctx(session, {});
    const auto ranks = ctx.range(1000, {.partitions = 5})
                           .barrier({.ranks = 8, .least_ranks = 2})
                           .map_partitions([](barrier_context& gang, const rows<std::int64_t>& part) {
                             std::vector<std::int64_t> mine;
                             for (const auto x : part) mine.push_back(x);
                             const auto total = gang.all_reduce(static_cast<std::int64_t>(mine.size()));
                             return std::tuple(gang.rank(), gang.size(), total, mine);
                           });
    CHECK(ranks.partition_count() == 8);
    const auto all = ranks.collect();
    REQUIRE(all.size() == width);
    std::vector<std::int64_t> rows;
    for (std::uint32_t r = 0; r < width; ++r) {
      const auto& [rank, size, total, mine] = all[r];
      CHECK(rank == r);
      CHECK(size == width);
      CHECK(total == 1000);
      rows.insert(rows.end(), mine.begin(), mine.end());
    }
    REQUIRE(rows.size() == 1000);
    for (std::size_t i = 0; i < rows.size(); ++i) CHECK(rows[i] == static_cast<std::int64_t>(i));
    CHECK(std::get<1>(ranks.first()) == width);
    CHECK(ranks.count() == width);
    CHECK(session.gangs_run == 1);
  }
}

TEST_CASE("partitions that a narrow gang left empty are no rows for actions, shuffles, gangs and caches after it") {
  for (const std::uint32_t slots : {1u, 2u, 4u}) {
    CAPTURE(slots);
    local_session session;
    session.slots = slots;
    context ctx(session, {});
    const auto rows =
        ctx.range(100, {.partitions = 3})
            .barrier({.ranks = 4, .least_ranks = 1})
            .map_partitions([](barrier_context&, const hydrogen::rows<std::int64_t>& part, emitter<std::int64_t>& out) {
              for (const auto x : part) out(x);
            });
    CHECK(rows.count() == 100);
    CHECK(rows.sum() == 4950);
    CHECK(rows.mean() == 49.5);
    CHECK(rows.reduce([](std::int64_t a, std::int64_t b) { return std::max(a, b); }) == 99);
    CHECK(rows.take(100).size() == 100);
    auto by_key = rows.map([](std::int64_t x) { return std::pair(x % 7, std::int64_t{1}); })
                      .reduce_by_key([](std::int64_t a, std::int64_t b) { return a + b; })
                      .collect();
    CHECK(by_key.size() == 7);
    std::int64_t counted = 0;
    for (const auto& [key, count] : by_key) counted += count;
    CHECK(counted == 100);
    const auto again = rows.map([](std::int64_t x) { return x + 1; }).cache();
    CHECK(again.count() == 100);
    CHECK(again.sum() == 5050);
    const auto sums = again.barrier({.ranks = 3, .least_ranks = 2})
                          .map_partitions([](barrier_context& gang, const hydrogen::rows<std::int64_t>& part) {
                            std::int64_t sum = 0;
                            for (const auto x : part) sum += x;
                            return gang.all_reduce(std::int64_t{sum});
                          })
                          .collect();
    CHECK(sums == std::vector<std::int64_t>(std::clamp(slots, 2u, 3u), 5050));
    CHECK(session.gangs_run == 2);
  }
}

TEST_CASE("a replicated checkpoint is restored at any width, and its piece stays when pieces of ranks follow it") {
  const tests::folder f;
  local_session session;
  session.storage_dir = f.path;
  session.known = {4, 2};  // step 4 by each rank, step 2 replicated
  context ctx(session, {});
  const auto run = [&](std::uint32_t slots) {
    session.slots = slots;
    return ctx.range(30).barrier({.ranks = 4, .least_ranks = 1}).map_partitions(fn<steps>, 5, 2).collect();
  };
  const auto files = [&](std::uint32_t step) {
    std::size_t n = 0;
    const auto name = "step-" + std::to_string(step);
    for (const auto& e : std::filesystem::recursive_directory_iterator(f.path))
      n += e.path().parent_path().filename() == name;
    return n;
  };
  CHECK(run(4) == std::vector(4, std::pair(4u, 0)));
  CHECK(files(1) == 0);
  CHECK(files(2) == 1);
  CHECK(files(3) == 0);
  CHECK(files(4) == 4);
  CHECK(files(5) == 4);

  const auto root = f.path + "/" + to_string(session.run());
  for (const std::uint32_t slots : {1u, 3u}) {  // as the job machine would say it: back to step 2
    const auto job = session.jobs;
    session.restore = exec::restore_point{2, {{1}, 1001}, true, {}};
    for (const auto& c : session.checkpoints) {
      if (c.step == 2) session.restore->pieces = {c.piece};
    }
    session.known = {};
    std::filesystem::rename(root + "/j" + std::to_string(job) + "-s1-0",
                            root + "/j" + std::to_string(job + 1) + "-s1-0");
    CHECK(run(slots) == std::vector(slots, std::pair(slots, 2)));
  }
  session.restore->replicated = false;  // which the job machine never says
  CHECK_THROWS_AS(run(3), failure);
}

TEST_CASE("a gang of fewer ranks at most than at least is refused, with what to do") {
  local_session session;
  context ctx(session, {});
  try {
    (void)ctx.range(3).barrier({.ranks = 2, .least_ranks = 4});
    FAIL("nothing was thrown");
  } catch (const failure& e) {
    CHECK(e.reason().code == errc::bad_input);
    CHECK(e.reason().what == "a gang of at least 4 ranks and at most 2");
    CHECK(e.reason().hint.find(".least_ranks") != std::string::npos);
  }
  CHECK_NOTHROW((void)ctx.range(3).barrier({.ranks = 2, .least_ranks = 2}));
}
