#include <hydrogen/comm/tuner.hpp>
#include <hydrogen/comm/tuning.hpp>

#include "folder.hpp"
#include "gang.hpp"
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <numeric>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::testing;

TEST_CASE("a threshold is where taking the faster way costs least over all sizes") {
  CHECK(best_threshold({{10, 1, 2}, {20, 1, 1.5}, {40, 3, 2}, {80, 9, 4}}) == 20);
  // One size that was disturbed does not move it.
  CHECK(best_threshold({{10, 1, 2}, {20, 2.1, 2}, {40, 1, 2}, {80, 9, 4}}) == 40);
  CHECK(best_threshold({{10, 2, 1}, {20, 3, 1}}) == 0);
  CHECK(best_threshold({{10, 1, 2}, {20, 1, 3}}) == 40);
  CHECK(best_bucket({{100, 100, 0}, {200, 110, 0}, {400, 200, 0}, {800, 390, 0}}) == 200);
}

TEST_CASE("a table is kept in a file of its machine; what cannot be used says why") {
  const tests::folder home;
  const auto path = home.file("deep/er/table.toml");
  CHECK(read_tuning(path).error().code == errc::not_found);
  tuning mine;
  mine.one_shot = {1, 2, 3};
  mine.bucket = 8192;
  REQUIRE(write_tuning(path, mine));
  REQUIRE(read_tuning(path));
  CHECK(*read_tuning(path) == mine);
  const auto is_refused = [&](const std::string& text, const std::string& why) {
    std::ofstream(path) << text;
    const auto got = read_tuning(path);
    REQUIRE_FALSE(got);
    INFO(got.error().message());
    CHECK(got.error().code == errc::bad_input);
    CHECK(got.error().message().find(why) != std::string::npos);
    CHECK(got.error().message().find(path) != std::string::npos);
  };
  is_refused("machine = 3 4", "table.toml:1");
  is_refused("machine = \"another\"", "of another machine");
  is_refused("machine = '" + machine_in_words() + "'\none_shot_2 = -1", "one_shot_2");
  is_refused("machine = '" + machine_in_words() + "'\none_shot_2 = 'x'", "one_shot_2");
}

TEST_CASE("no table makes ranks take memory without bound for one shot") {
  tuning odd;
  odd.one_shot = {1, ~std::uint64_t{0}, 1 << 20};
  CHECK(odd.one_shot_of(2) == 1);
  CHECK(odd.one_shot_of(4) == 64 << 20);
  CHECK(odd.one_shot_of(64) == 1 << 20);
}

TEST_CASE("whatever the table says, all ranks use that of the process that leads, and results have the same bits") {
  constexpr std::uint64_t never = ~std::uint64_t{0};
  std::vector<float> first;
  for (const auto between : {medium::memory, medium::tcp}) {
    for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{100'000}, never}) {
      for (const bool leads : {true, false}) {
        tuning odd;
        odd.one_shot = {value, value, value};
        odd.reduce_by_reading = odd.pass_by_reading = odd.exchange_by_reading = value;
        // Rank 0 has it, or the others.
        gang team(layout({0, 1}, between), [&](int process, rendezvous_options& o) {
          if ((process == 0) == leads) o.table = odd;
        });
        const auto results = team.run([&](group& g) -> expected<void> {
          if (g.table() != (leads ? odd : tuning())) return fail(errc::internal, "another table");
          std::vector<float> x(70'000);
          std::iota(x.begin(), x.end(), 0.1f * static_cast<float>(g.rank() + 1));
          if (auto ok = g.all_reduce(std::span(x), reduction::mean); !ok) return ok;
          if (auto ok = g.broadcast(1, std::span(x)); !ok) return ok;
          for (auto& y : std::span(x).subspan(35'000 * g.rank(), 35'000)) y *= static_cast<float>(g.rank() + 2);
          if (auto ok = g.all_gather(std::span(x)); !ok) return ok;
          if (g.rank() == 0 && first.empty()) first = x;
          if (g.rank() == 0 && x != first) return fail(errc::internal, "other bits");
          return {};
        });
        for (const auto& r : results) {
          INFO((r ? "fine" : r.error().message()));
          CHECK(r);
        }
      }
    }
  }
}

TEST_CASE("a machine is measured, or that is stopped") {
  const auto all = measure_tuning([] { return false; });
  REQUIRE(all);
  CHECK(all->all.size() == 7);
  for (const auto& s : all->all) {
    for (const auto& p : s.points) CHECK(p.below_us > 0);
  }
  CHECK(all->table.bucket >= 4096);
  int asked = 0;
  const auto stopped = measure_tuning([&] { return ++asked > 20; });
  REQUIRE_FALSE(stopped);
  CHECK(stopped.error().code == errc::cancelled);
}
