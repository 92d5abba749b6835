#include "scenarios.hpp"
#include <unistd.h>

#include <chrono>

namespace hydrogen::scenarios {
namespace {

using std::chrono::steady_clock;

/// One clock for all processes of a host.
std::string stamp() {
  return std::to_string(steady_clock::now().time_since_epoch() / std::chrono::microseconds(1));
}

std::int64_t warm_watched_rank(barrier_context& gang, rows<std::int64_t>, const std::string& notes) {
  note(notes, "warm " + std::to_string(gang.rank()) + " " + std::to_string(getpid()));
  return gang.all_reduce(std::int64_t{1});
}

/// In the first attempt no rank ever comes back by itself: all compute, or rank 1 waits for the others in a collective.
std::int64_t watched_rank(barrier_context& gang, rows<std::int64_t>, const std::string& notes, bool meets) {
  const auto who = std::to_string(gang.rank());
  note(notes, "enter " + who + " " + std::to_string(gang.attempt()) + " " + stamp() + " " + std::to_string(getpid()));
  if (gang.attempt() > 0) return gang.all_reduce(std::int64_t{gang.rank()} + 1);
  try {
    if (meets && gang.rank() == 1) gang.barrier();
    const auto deadline = steady_clock::now() + std::chrono::seconds(90);
    while (!gang.stop_requested() && steady_clock::now() < deadline) usleep(500);
    gang.barrier();  // says why
  } catch (...) {
    note(notes, "told " + who + " " + stamp());
    throw;
  }
  throw std::runtime_error("nobody ends this attempt");
}

}  // namespace

void watched_gang(context& ctx) {
  const auto everywhere = static_cast<std::uint32_t>(std::stoul(ctx.args().at(1)));
  const auto ranks = static_cast<std::uint32_t>(std::stoul(ctx.args().at(2)));
  const auto retries = static_cast<std::uint32_t>(std::stoul(ctx.args().at(3)));
  const auto& notes = ctx.args().at(4);
  const auto warm = ctx.range(0, everywhere, {.partitions = everywhere})
                        .barrier({.ranks = everywhere})
                        .map_partitions(fn<warm_watched_rank>, notes)
                        .collect();
  expect(warm == std::vector<std::int64_t>(everywhere, everywhere), "a gang that starts executors");
  const auto sums = ctx.range(0, ranks, {.partitions = ranks})
                        .barrier({.ranks = ranks, .retries = retries})
                        .map_partitions(fn<watched_rank>, notes, ctx.args().at(5) == "meets")
                        .collect();
  expect(sums == std::vector(ranks, std::int64_t{ranks} * (ranks + 1) / 2), "the sum of all ranks");
}

}  // namespace hydrogen::scenarios
