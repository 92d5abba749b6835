// The application that end-to-end tests run: one scenario per name, given as the first argument. A scenario checks its
// own results and throws when they are wrong; the tests check what comes out of it, and what is left behind.

#include "scenarios.hpp"

#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>

namespace {

using namespace hydrogen::scenarios;
using hydrogen::barrier_context;
using hydrogen::rows;

struct options {
  std::string notes;  // a file
  std::int32_t bad_rank = -1;
  std::int32_t steps = 0;
  std::int32_t kill_step = -1;
  std::int32_t times = 1;  // how many attempts misbehave
};

void parallel(hydrogen::context& ctx) {
  const auto sum = ctx.range(0, 1'000'000, {.partitions = 8})
                       .map([](std::int64_t i) { return i * 2; })
                       .filter([](std::int64_t i) { return i % 3 == 0; })
                       .reduce([](std::int64_t a, std::int64_t b) { return a + b; });
  std::int64_t expected = 0;
  for (std::int64_t i = 0; i < 1'000'000; ++i) expected += i * 2 % 3 == 0 ? i * 2 : 0;
  expect(sum == expected, "sum " + std::to_string(sum) + " instead of " + std::to_string(expected));
}

void shuffle(hydrogen::context& ctx) {
  auto pairs = ctx.range(0, 100'000, {.partitions = 8})
                   .map([](std::int64_t i) { return std::pair(i % 100, i); })
                   .reduce_by_key([](std::int64_t a, std::int64_t b) { return a + b; })
                   .collect();
  std::map<std::int64_t, std::int64_t> expected;
  for (std::int64_t i = 0; i < 100'000; ++i) expected[i % 100] += i;
  expect(pairs.size() == expected.size(), std::to_string(pairs.size()) + " keys");
  for (const auto& [key, value] : pairs) expect(expected[key] == value, "value of key " + std::to_string(key));
}

/// A gang that adds its rank numbers, step by step, with checkpoints; ranks misbehave as the options say.
std::int64_t train(barrier_context& gang, rows<std::int64_t> input, const options& opt) {
  const auto misbehaves =
      static_cast<std::int32_t>(gang.rank()) == opt.bad_rank && static_cast<std::int32_t>(gang.attempt()) < opt.times;
  if (!opt.notes.empty()) note(opt.notes, "enter " + std::to_string(gang.rank()) + " " + std::to_string(getpid()));
  std::int64_t rows_seen = 0;
  for (const auto row : input) rows_seen += row;
  auto [first, total] = gang.restore_or(0, std::int64_t{0});
  for (auto step = first; step < opt.steps; ++step) {
    if (misbehaves && step == opt.kill_step) raise(SIGKILL);
    std::int64_t value = rows_seen + step;
    gang.all_reduce(value);
    total += value;
    if (gang.rank() == 0 && !opt.notes.empty()) note(opt.notes, "step " + std::to_string(step));
    gang.checkpoint(step + 1, total, {.replicated = true});
    if (gang.rank() == 0 && !opt.notes.empty()) note(opt.notes, "checkpointed " + std::to_string(step + 1));
  }
  return total;
}

std::int64_t expected_total(std::int32_t ranks, std::int32_t steps) {
  std::int64_t total = 0;
  for (std::int64_t step = 0; step < steps; ++step) total += 499'500 + ranks * step;
  return total;
}

void gang(hydrogen::context& ctx) {
  const auto ranks = static_cast<std::uint32_t>(std::stoul(ctx.args().at(1)));
  options opt;
  opt.notes = ctx.args().at(2);
  opt.steps = std::stoi(ctx.args().at(3));
  opt.bad_rank = std::stoi(ctx.args().at(4));
  opt.kill_step = std::stoi(ctx.args().at(5));
  const auto totals = ctx.range(0, 1000, {.partitions = 4})
                          .barrier({.ranks = ranks})
                          .map_partitions(hydrogen::fn<train>, opt)
                          .collect();
  expect(totals.size() == ranks, "one row per rank");
  for (const auto total : totals)
    expect(total == expected_total(static_cast<std::int32_t>(ranks), opt.steps), "total " + std::to_string(total));
  // Beside the notes there may be the cluster's storage: of many checkpoints, those that are known to be old are gone.
  const auto storage = std::filesystem::path(opt.notes).parent_path() / "storage";
  if (opt.steps < 40 || !std::filesystem::exists(storage)) return;
  std::int32_t kept = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(storage)) kept += entry.is_regular_file();
  expect(kept > 0 && kept < opt.steps, std::to_string(kept) + " checkpoints are kept");
}

/// What a rank does wrong: throws, exits, crashes, returns early, brings another size, never arrives, never looks.
std::int64_t misbehave(barrier_context& gang, rows<std::int64_t>, const std::string& how) {
  const bool bad = gang.rank() == 1;
  if (bad && how == "throw") throw std::runtime_error("rank one does not like this");
  if (bad && how == "exit") std::exit(3);
  if (bad && how == "crash") raise(SIGSEGV);
  if (bad && how == "return") return 0;
  while (bad && how == "hang") pause();
  std::vector<double> values(bad && how == "size" ? 11 : 10, 1.0);
  if (bad && how == "absent") {
    while (!gang.stop_requested()) usleep(1000);
    return 0;
  }
  gang.all_reduce(values);
  gang.barrier();
  return static_cast<std::int64_t>(values[0]);
}

void bad_rank(hydrogen::context& ctx) {
  const auto how = ctx.args().at(1);
  hydrogen::barrier_options options{.ranks = 3, .retries = 1};
  options.call_timeout = std::chrono::seconds(2);
  ctx.range(0, 3, {.partitions = 3}).barrier(options).map_partitions(hydrogen::fn<misbehave>, how).collect();
}

void bad_task(hydrogen::context& ctx) {
  ctx.range(0, 8, {.partitions = 8})
      .map([](std::int64_t i) {
        if (i == 5) throw std::invalid_argument("row five is bad");
        return i;
      })
      .collect();
}

void two_gangs(hydrogen::context& ctx) {
  const auto rounds = std::stoi(ctx.args().at(1));
  for (int i = 0; i < rounds; ++i) {
    const auto ranks = ctx.range(0, 3, {.partitions = 3})
                           .barrier({.ranks = 3})
                           .map_partitions([](barrier_context& gang, rows<std::int64_t>) {
                             gang.barrier();
                             return std::int64_t{gang.size()};
                           })
                           .collect();
    expect(ranks == std::vector<std::int64_t>(3, 3), "three ranks of three");
  }
}

/// Of 2 to 4 ranks, as many as there are slots for.
void elastic_gang(hydrogen::context& ctx) {
  const auto ranks = ctx.range(0, 1000, {.partitions = 5})
                         .barrier({.ranks = 4, .least_ranks = 2})
                         .map_partitions([](barrier_context& gang, const rows<std::int64_t>& mine) {
                           std::int64_t sum = 0;
                           for (const auto x : mine) sum += x;
                           return std::pair(std::int64_t{gang.size()}, gang.all_reduce(std::int64_t{sum}));
                         });
  const auto all = ranks.collect();
  const auto size = static_cast<std::int64_t>(all.size());
  expect(2 <= size && size <= 4, std::to_string(size) + " ranks");
  for (const auto& rank : all) expect(rank == std::pair(size, std::int64_t{499'500}), "every row once");
  expect(ranks.count() == all.size() && ranks.first() == all[0], "the output is kept");
  const auto sums = ranks.reduce_by_key([](std::int64_t a, std::int64_t b) { return a + b; }).collect();
  expect(sums == std::vector{std::pair(size, size * 499'500)}, "a shuffle behind it");
}

void entry(hydrogen::context& ctx) {
  const auto& name = ctx.args().at(0);
  if (name == "parallel") return parallel(ctx);
  if (name == "shuffle") return shuffle(ctx);
  if (name == "gang") return gang(ctx);
  if (name == "bad_rank") return bad_rank(ctx);
  if (name == "bad_task") return bad_task(ctx);
  if (name == "two_gangs") return two_gangs(ctx);
  if (name == "elastic_gang") return elastic_gang(ctx);
  if (name == "warm_gang") return warm_gang(ctx);
  if (name == "watched_gang") return watched_gang(ctx);
  if (name == "zombies") return zombies(ctx);
  if (name == "busy") return busy(ctx);
  if (name == "devices") return devices(ctx);
  if (name == "device_tasks") return device_tasks(ctx);
  if (name == "kernel_actors") return kernel_actors(ctx);
  if (name == "large_result") return large_result(ctx);
  if (name == "large_argument") return large_argument(ctx);
  throw std::invalid_argument("no scenario " + name);
}

}  // namespace

HYDROGEN_APPLICATION(entry)
