#include "scenarios.hpp"
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>

namespace hydrogen::scenarios {
namespace {

using values = std::vector<double>;

enum class play { calm, gated, writing };

constexpr double poison = 6.66e66;

std::uint64_t steps_of(play how) {
  return how == play::writing ? 40 : 5;
}

bool exists(const std::string& file) {
  return access(file.c_str(), F_OK) == 0;
}

/// True when the gate is open, which is looked at first; false when the attempt is over.
bool wait_at(barrier_context& gang, const std::string& gate) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(90);
  while (!exists(gate)) {
    if (gang.stop_requested()) return false;
    if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("nobody opens " + gate);
    usleep(500);
  }
  return true;
}

void advance(barrier_context& gang, values& x, std::uint64_t step) {
  auto together = x;
  gang.all_reduce(std::span(together), comm::reduction::mean, comm::algorithm::owner_reduce);
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = 0.7 * x[i] + 0.3 * together[i] + 1.0 / static_cast<double>(step + i + 3);
}

/// What a rank does that was stopped, and goes on when its gang has been given up: all it can.
values act_as_zombie(barrier_context& gang, const std::string& notes) {
  const auto who = std::to_string(gang.rank());
  note(notes, "zombie " + who);
  const auto attempt = [&](const char* what, auto&& call) {
    try {
      call();
      note(notes, std::string("accepted: ") + what + " of rank " + who);
    } catch (const failure&) {
    }
  };
  const values bad(gang.rank() % 2 == 0 ? 8 : 4096, poison);  // a small result, or one that stays in its store
  const auto reduce = [&] {
    auto x = bad;
    gang.all_reduce(x);
  };
  const auto save = [&] { gang.checkpoint(99, bad); };
  if (gang.rank() % 3 == 0) attempt("a contribution", reduce);
  if (gang.rank() % 3 != 2) attempt("a checkpoint", save);
  if (gang.rank() % 3 == 1) attempt("a contribution", reduce);
  note(notes, "ends " + who);
  return bad;
}

values zombie_rank(barrier_context& gang, rows<std::int64_t>, const std::string& notes, play how) {
  const auto who = std::to_string(gang.rank());
  const bool first_try = how != play::calm && gang.attempt() == 0;
  auto [first, x] = gang.restore_or(std::uint64_t{0}, values(64, 1.0 / (gang.rank() + 1)));
  if (how != play::calm) {
    note(notes, (first_try ? "enter " : "again ") + who + " " + std::to_string(getpid()) + " " +
                    std::to_string(gang.attempt()));
  }
  try {
    for (auto step = first; step < steps_of(how); ++step) {
      if (first_try && how == play::gated && step == 2) {
        if (gang.rank() == 0) note(notes, "stop now");
        if (!wait_at(gang, notes + ".go")) throw std::runtime_error("stopped");
        return act_as_zombie(gang, notes);
      }
      advance(gang, x, step);
      if (first_try && how == play::writing && gang.rank() == 0) note(notes, "step " + std::to_string(step));
      gang.checkpoint(step + 1, x);
      if (first_try && exists(notes + ".go")) note(notes, "wrote " + who + " " + std::to_string(step + 1));
      if (how != play::calm && !first_try && step == first && !wait_at(gang, notes + ".finish"))
        throw std::runtime_error("stopped");
    }
  } catch (const failure&) {
    if (!first_try || !exists(notes + ".go")) throw;
    return act_as_zombie(gang, notes);
  }
  return x;
}

std::vector<values> train(context& ctx, std::uint32_t ranks, const std::string& notes, play how) {
  return ctx.range(0, ranks, {.partitions = ranks})
      .barrier({.ranks = ranks, .retries = 20})
      .map_partitions(fn<zombie_rank>, notes, how)
      .collect();
}

bool same_bits(const std::vector<values>& a, const std::vector<values>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const values& x, const values& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(double)) == 0;
  });
}

}  // namespace

void zombies(context& ctx) {
  const auto ranks = static_cast<std::uint32_t>(std::stoul(ctx.args().at(1)));
  const auto rounds = std::stoi(ctx.args().at(2));
  const auto& notes = ctx.args().at(3);
  const auto calm = train(ctx, ranks, notes, play::calm);
  const auto run_of = [&](play how) {
    if (how == play::gated) return calm;
    auto all = ctx.range(0, ranks, {.partitions = ranks})
                   .barrier({.ranks = ranks})
                   .map_partitions([](barrier_context& gang, rows<std::int64_t>) {
                     values x(64, 1.0 / (gang.rank() + 1));
                     for (std::uint64_t step = 0; step < steps_of(play::writing); ++step) advance(gang, x, step);
                     return x;
                   });
    return all.collect();
  };
  const std::vector<values> right[] = {run_of(play::gated), run_of(play::writing)};
  for (int round = 0; round < rounds; ++round) {
    const auto mine = notes + "." + std::to_string(round);
    while (!exists(mine + ".start")) {
      if (exists(notes + ".over")) return;
      usleep(500);
    }
    const auto all = train(ctx, ranks, mine, round % 2 == 0 ? play::gated : play::writing);
    expect(all.size() == ranks, "one result of each rank");
    expect(same_bits(all, right[round % 2]), "the bits of a run that nobody disturbed");
    note(mine, "right");
  }
}

}  // namespace hydrogen::scenarios
