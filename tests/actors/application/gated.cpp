#include "scenarios.hpp"
#include <unistd.h>

#include <chrono>
#include <numeric>

namespace hydrogen::scenarios {
namespace {

/// Polls: the test may open the gate before or after. Gives up long after any test has failed.
template <class Stopped>
void wait_at(const std::string& gate, Stopped&& stopped) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(90);
  while (access(gate.c_str(), F_OK) != 0) {
    if (stopped()) throw std::runtime_error("stopped at " + gate);
    if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("nobody opens " + gate);
    usleep(500);
  }
}
bool never_stopped() {
  return false;
}

std::int64_t warm_rank(barrier_context& gang, rows<std::int64_t>, const std::string& notes) {
  note(notes, "warm " + std::to_string(gang.rank()) + " " + std::to_string(getpid()));
  return gang.all_reduce(std::int64_t{1});
}

std::vector<std::int64_t> gated_rank(barrier_context& gang, rows<std::int64_t>, const std::string& notes,
                                     std::uint64_t numbers) {
  note(notes, "enter " + std::to_string(gang.rank()) + " " + std::to_string(getpid()));
  wait_at(notes + ".finish", [&] { return gang.stop_requested(); });
  const auto sum = gang.all_reduce(std::int64_t{gang.rank()} + 1);
  note(notes, "return " + std::to_string(gang.rank()));
  return std::vector<std::int64_t>(numbers, sum);
}

}  // namespace

void warm_gang(context& ctx) {
  const auto ranks = static_cast<std::uint32_t>(std::stoul(ctx.args().at(1)));
  const auto retries = static_cast<std::uint32_t>(std::stoul(ctx.args().at(2)));
  const auto& notes = ctx.args().at(3);
  const dataset<std::int64_t> input = ctx.range(0, ranks, {.partitions = ranks}).cache();
  const auto warm = input.barrier({.ranks = ranks}).map_partitions(fn<warm_rank>, notes).collect();
  expect(warm == std::vector<std::int64_t>(ranks, ranks), "a gang that starts executors");
  note(notes, "warmed");
  wait_at(notes + ".start", never_stopped);
  const auto numbers = ctx.args().size() > 4 ? std::stoull(ctx.args().at(4)) : 1;  // in what each rank returns
  const auto sums =
      input.barrier({.ranks = ranks, .retries = retries}).map_partitions(fn<gated_rank>, notes, numbers).collect();
  const std::vector<std::int64_t> one_rank(numbers, std::int64_t{ranks} * (ranks + 1) / 2);
  expect(sums == std::vector(ranks, one_rank), "the sum of all ranks");
}

void busy(context& ctx) {
  const auto tasks = static_cast<std::uint32_t>(std::stoul(ctx.args().at(1)));
  const auto done = ctx.range(0, tasks, {.partitions = tasks})
                        .map(
                            [](std::int64_t i, const std::string& notes) {
                              note(notes, "task " + std::to_string(i) + " " + std::to_string(getpid()));
                              wait_at(notes + "." + std::to_string(i), never_stopped);
                              return i;
                            },
                            ctx.args().at(2))
                        .collect();
  std::vector<std::int64_t> expected(tasks);
  std::iota(expected.begin(), expected.end(), 0);
  expect(done == expected, "each task once, in order");
}

void large_result(context& ctx) {
  const auto n = std::stoll(ctx.args().at(1)) * ((1 << 20) / static_cast<std::int64_t>(sizeof(std::int64_t)));
  const auto all = ctx.range(0, n, {.partitions = 64}).map([](std::int64_t i) { return i ^ 5; }).collect();
  expect(static_cast<std::int64_t>(all.size()) == n, "as many rows as there were");
  for (std::int64_t i = 0; i < n; ++i) {
    if (all[static_cast<std::size_t>(i)] != (i ^ 5)) expect(false, "row " + std::to_string(i));
  }
}

void large_argument(context& ctx) {
  const auto numbers = std::stoull(ctx.args().at(1)) * ((1 << 20) / sizeof(float));
  const auto tasks = std::stoll(ctx.args().at(2));
  const auto rounds = ctx.args().size() > 4 ? std::stoi(ctx.args().at(4)) : 1;
  for (int round = 0; round < rounds; ++round) {
    const auto value = static_cast<float>(round);
    const std::vector<float> model(numbers, value);
    const auto sizes = ctx.range(0, tasks, {.partitions = static_cast<std::uint32_t>(tasks)})
                           .map(
                               [](std::int64_t i, const std::vector<float>& m, float value, const std::string& notes) {
                                 note(notes, "task " + std::to_string(i) + " " + std::to_string(getpid()));
                                 return static_cast<std::int64_t>(m.size()) + (m.back() == value ? 0 : 1);
                               },
                               model, value, ctx.args().at(3))
                           .collect();
    expect(sizes == std::vector<std::int64_t>(static_cast<std::size_t>(tasks), static_cast<std::int64_t>(numbers)),
           "the model in each task");
  }
}

}  // namespace hydrogen::scenarios
