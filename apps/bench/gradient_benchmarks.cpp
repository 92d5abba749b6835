// `gradients`: exchanges of gradients in buckets, beside one call for all bytes, and beside the computation alone.

#include <hydrogen/comm/gradient_exchange.hpp>
#include <hydrogen/comm/rendezvous.hpp>

#include "bench.hpp"
#include <spdlog/fmt/fmt.h>

#include <ctime>
#include <thread>

namespace hydrogen::bench {
namespace {

constexpr std::uint32_t exchanging_ranks = 2;

/// A gang in threads of this process: runs `body` on each rank; what rank 0 returned.
std::vector<double> in_a_gang(const std::function<std::vector<double>(comm::group&)>& body) {
  comm::rendezvous meet(std::nullopt);
  comm::gang_token token;
  token.attempt = {{1}, 1};
  std::vector<comm::gang_member> members;
  for (std::uint32_t r = 0; r < exchanging_ranks; ++r) members.push_back({r, make_boot_id(), {}, {}});
  const comm::gang_table table(std::move(members));
  abort_word abort;
  std::vector<double> first;
  std::vector<std::exception_ptr> problems(exchanging_ranks);
  std::vector<std::jthread> threads;
  for (std::uint32_t r = 0; r < exchanging_ranks; ++r) {
    threads.emplace_back([&, r] {
      try {
        const auto g = value_or_throw(meet.join(token, r, table, abort, now() + 20s));
        auto result = body(*g);
        if (r == 0) first = std::move(result);
      } catch (...) {
        problems[r] = std::current_exception();
        abort.set({errc::aborted, "another rank has failed", {}, {}});
      }
    });
  }
  threads.clear();
  for (const auto& p : problems) {
    if (p) std::rethrow_exception(p);
  }
  return first;
}

/// Microseconds of each of `steps` steps, after some that are not counted.
template <class Step>
std::vector<double> timed_steps(int steps, Step step) {
  std::vector<double> times;
  for (int i = -steps / 4 - 1; i < steps; ++i) {
    const auto begin = now();
    step();
    if (i >= 0) times.push_back(microseconds(now() - begin));
  }
  return times;
}

/// All gradients at once, last to first.
std::vector<double> exchange_alone(const std::vector<std::size_t>& sizes, int steps) {
  return in_a_gang([&](comm::group& g) {
    auto all = value_or_throw(comm::gradient_exchange::make(g, sizes));
    return timed_steps(steps, [&] {
      for (std::size_t i = sizes.size(); i-- > 0;) value_or_throw(all.ready(i));
      value_or_throw(all.finish());
    });
  });
}

double process_cpu_us() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

/// Stands for the backward pass of a layer: about a quarter of a millisecond of arithmetic, then a gradient.
void compute_layer(std::vector<float>& state, std::span<float> gradient) {
  for (int round = 0; round < 64; ++round) {
    for (auto& x : state) x = x * 0.999f + 0.001f;
  }
  std::fill(gradient.begin(), gradient.end(), state[0]);
}

void gradients(session& s) {
  const int steps = s.quick() ? 8 : 2000;
  constexpr std::size_t few = 256;  // floats: 1 KiB
  const auto together = exchange_alone({200 * few}, steps);
  s.report({.name = "200 tensors of 1 KiB",
            .size = "200 KiB",
            .unit = "us",
            .samples = exchange_alone(std::vector<std::size_t>(200, few), steps),
            .beside = reference{"one of 200 KiB", median(together), {}},
            .aim = goal{goal::kind::ratio, 1.0 / 3},
            .note = {}});

  constexpr std::size_t layers = 20, each = 64 << 10;  // floats: 256 KiB
  const std::vector<std::size_t> network(layers, each);
  const int network_steps = s.quick() ? 4 : 200;
  const auto compute = in_a_gang([&](comm::group& g) {
    std::vector<float> state(16 << 10, 1.0f), gradient(each);
    return timed_steps(network_steps, [&] {
      for (std::size_t i = 0; i < layers; ++i) compute_layer(state, gradient);
      value_or_throw(g.barrier());
    });
  });
  const auto before = process_cpu_us();
  const auto alone = exchange_alone(network, network_steps);
  // All cores are busy: what the exchange needs of them, a rank's share, comes on top.
  const auto cpu = (process_cpu_us() - before) / (network_steps + network_steps / 4 + 1) / exchanging_ranks;
  const auto both = in_a_gang([&](comm::group& g) {
    auto all = value_or_throw(comm::gradient_exchange::make(g, network));
    std::vector<float> state(16 << 10, 1.0f);
    return timed_steps(network_steps, [&] {
      for (std::size_t i = layers; i-- > 0;) {
        compute_layer(state, all.gradient(i));
        value_or_throw(all.ready(i));
      }
      value_or_throw(all.finish());
    });
  });
  s.report({.name = "step of 20 layers",
            .size = "5 MiB",
            .unit = "us",
            .samples = both,
            .beside = reference{"computing, and CPU of the exchange", median(compute) + cpu, {}},
            .aim = goal{goal::kind::ratio, 1 / 1.10},
            .note = fmt::format("computing alone {:.0f} us, the exchange alone {:.0f} us, its CPU {:.0f} us a rank",
                                median(compute), median(alone), cpu)});
}

const registration gradients_registered{"gradients", "gradients in buckets, beside one call and beside computing",
                                        gradients};

}  // namespace
}  // namespace hydrogen::bench
