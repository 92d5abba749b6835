#include "jobs.hpp"

#include <hydrogen/base/clock.hpp>

#include <unistd.h>
#include <word_count/count_words.hpp>

#include <csignal>
#include <fstream>

namespace hydrogen::bench {
namespace {

std::int64_t entered() {
  return now().time_since_epoch().count();
}

void entry(context& ctx) {
  ctx.print("the work of hydrogen-bench; run that program");
}

}  // namespace

std::int64_t fused_sum(context& ctx, std::int64_t n) {
  return ctx.range(n)
      .filter([](std::int64_t i) { return i % 3 != 0; })
      .map([](std::int64_t i) { return i * 2 + 1; })
      .sum();
}

dataset<std::pair<std::int64_t, double>> keyed_rows(context& ctx, std::int64_t n, std::int64_t keys) {
  auto rows =
      ctx.range(n)
          .map([](std::int64_t i, std::int64_t k) { return std::pair(i * 2654435761 % k, static_cast<double>(i)); },
               keys)
          .cache();
  (void)rows.count();
  return rows;
}

double sum_by_key(const dataset<std::pair<std::int64_t, double>>& rows) {
  return rows.reduce_by_key([](double a, double b) { return a + b; })
      .map([](const std::pair<std::int64_t, double>& row) { return row.second; })
      .sum();
}

std::pair<std::int64_t, std::int64_t> count_all_words(context& ctx, const std::string& file) {
  return examples::count_words(ctx, {file})
      .map(
          [](const std::pair<std::string_view, std::int64_t>& word) { return std::pair(std::int64_t{1}, word.second); })
      .reduce([](std::pair<std::int64_t, std::int64_t> a, const std::pair<std::int64_t, std::int64_t>& b) {
        return std::pair(a.first + b.first, a.second + b.second);
      });
}

void empty_tasks(context& ctx, std::uint32_t n) {
  (void)ctx.range(n, {.partitions = n}).count();
}

std::vector<double> barrier_times(context& ctx, std::uint32_t ranks, std::uint32_t rounds) {
  return ctx.range(ranks)
      .barrier({.ranks = ranks, .retries = 0})
      .map_partitions(
          [](barrier_context& gang, hydrogen::rows<std::int64_t>, std::uint32_t n) {
            std::vector<double> times;
            times.reserve(n);
            for (std::uint32_t i = 0; i < n; ++i) {
              const auto begin = now();
              gang.barrier();
              times.push_back(static_cast<double>((now() - begin).count()) / 1e3);
            }
            return times;
          },
          rounds)
      .first();
}

void idle_gang(context& ctx, std::uint32_t ranks) {
  (void)ctx.range(0, ranks, {.partitions = ranks})
      .barrier({.ranks = ranks, .retries = 0})
      .map_partitions([](barrier_context&, hydrogen::rows<std::int64_t>, emitter<std::int64_t>&) {})
      .collect();
}

dataset<std::int64_t> gang_input(context& ctx, std::uint32_t ranks) {
  auto rows = ctx.range(0, ranks, {.partitions = ranks}).cache();
  (void)rows.count();
  return rows;
}

std::vector<std::int64_t> gang_entries(const dataset<std::int64_t>& input, std::uint32_t ranks) {
  return input.barrier({.ranks = ranks, .retries = 0})
      .map_partitions([](barrier_context&, hydrogen::rows<std::int64_t>) { return entered(); })
      .collect();
}

std::vector<std::int64_t> gang_entries_after_kill(context& ctx, std::uint32_t ranks, const std::string& file) {
  return ctx.range(0, ranks, {.partitions = ranks})
      .barrier({.ranks = ranks, .retries = 1})
      .map_partitions(
          [](barrier_context& gang, hydrogen::rows<std::int64_t>, const std::string& note) {
            const auto at = entered();
            gang.barrier();
            if (gang.attempt() == 0) {
              if (gang.rank() == 0) {
                std::ofstream(note) << entered();
                ::kill(::getpid(), SIGKILL);
              }
              gang.barrier();
            }
            return at;
          },
          file)
      .collect();
}

}  // namespace hydrogen::bench

HYDROGEN_APPLICATION(hydrogen::bench::entry)
