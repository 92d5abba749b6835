// `fused`, `reduce`, `words`: operators, beside a hand-written loop, Polars and DuckDB.

#include "engine.hpp"
#include "peer.hpp"
#include "zipf_text.hpp"
#include <spdlog/fmt/fmt.h>

#include <filesystem>
#include <utility>

namespace hydrogen::bench {
namespace {

void check_equal(const char* what, double got, double want) {
  if (got != want) throw failure({errc::internal, fmt::format("{} is {}, not {}", what, got, want), {}, {}});
}

[[gnu::noinline]] std::int64_t loop_sum(std::int64_t n) {
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    if (i % 3 != 0) sum += i * 2 + 1;
  }
  return sum;
}

void fused(session& s) {
  const auto n = static_cast<std::int64_t>(s.scaled(50'000'000));
  const auto size = fmt::format("{} integers", n);
  const auto want = static_cast<double>(loop_sum(n));
  const auto loop = median(sample_ms(s.rounds(9), [&] { keep(loop_sum(n)); }));
  const auto run = [&](std::uint32_t slots) {
    auto e = embedded(slots);
    return sample_ms(s.rounds(9), [&] { check_equal("the sum", static_cast<double>(fused_sum(e.ctx(), n)), want); });
  };
  s.report({"one slot", size, "ms", run(1), reference{"hand-written loop", loop}, goal{goal::kind::ratio, 0.9}, {}});
  report_beside_peers(s, {"two slots", size, "ms", run(2), {}, goal{goal::kind::ratio, 1}, {}},
                      {measure_peer("polars", "fused", {std::to_string(n)}, s.rounds(5)),
                       measure_peer("duckdb", "fused", {std::to_string(n)}, s.rounds(5))});
}

void reduce(session& s) {
  const auto n = static_cast<std::int64_t>(s.scaled(20'000'000));
  const auto keys = static_cast<std::int64_t>(s.scaled(1'000'003));
  auto e = embedded(2);
  const auto rows = keyed_rows(e.ctx(), n, keys);
  // Sums of integers below 2^53 are exact in any order.
  const double want = static_cast<double>(n) * static_cast<double>(n - 1) / 2;
  auto samples = sample_ms(s.rounds(5), [&] { check_equal("the sum", sum_by_key(rows), want); });
  const auto work = fmt::format("{}/{}", n, keys);
  report_beside_peers(
      s, {"two slots", fmt::format("{} rows", n), "ms", std::move(samples), {}, goal{goal::kind::ratio, 0.5}, {}},
      {measure_peer("duckdb", "reduce", {work}, s.rounds(5)), measure_peer("polars", "reduce", {work}, s.rounds(5))});
}

void words(session& s) {
  const scratch_folder folder;
  const auto file = folder.path() + "/words.txt";
  const auto n = s.scaled(33'000'000);
  value_or_throw(write_zipf_text(file, n, 200'000, 1.2, 1));
  const auto size = fmt::format("{:.0f} MB of text", static_cast<double>(std::filesystem::file_size(file)) / 1e6);
  auto e = embedded(2);
  auto samples = sample_ms(s.rounds(5), [&] {
    check_equal("the number of words", static_cast<double>(count_all_words(e.ctx(), file).second),
                static_cast<double>(n));
  });
  report_beside_peers(
      s, {"two slots", size, "ms", std::move(samples), {}, goal{goal::kind::ratio, 1}, {}},
      {measure_peer("duckdb", "words", {file}, s.rounds(5)), measure_peer("polars", "words", {file}, s.rounds(5))});
}

const registration fused_registered{"fused", "filter, map, sum over 50 M integers, beside a loop, Polars, DuckDB",
                                    fused};
const registration reduce_registered{"reduce", "sum by key, 20 M rows, 1 M keys, beside DuckDB, Polars", reduce};
const registration words_registered{"words", "word count of 200 MB of Zipf text, beside DuckDB, Polars", words};

}  // namespace
}  // namespace hydrogen::bench
