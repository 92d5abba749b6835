// `gradients`: exchanges of gradients in buckets, beside one call for all bytes, and beside the computation alone.

#include <hydrogen/comm/acceptor.hpp>
#include <hydrogen/comm/gradient_exchange.hpp>
#include <hydrogen/comm/rendezvous.hpp>

#include "bench.hpp"
#include "delaying_relay.hpp"
#include <spdlog/fmt/fmt.h>

#include <ctime>
#include <mutex>
#include <thread>

namespace hydrogen::bench {
namespace {

constexpr std::uint32_t exchanging_ranks = 2;

using rank_body = std::function<std::vector<double>(comm::group&)>;

/// Runs `body` on a thread for each rank, which joins at its rendezvous; what rank 0 returned.
std::vector<double> on_ranks(const std::vector<comm::rendezvous*>& meet, const comm::gang_table& table,
                             const rank_body& body) {
  comm::gang_token token;
  token.attempt = {{1}, 1};
  abort_word abort;
  std::vector<double> first;
  std::mutex mutex;
  std::exception_ptr problem;  // the first
  std::vector<std::jthread> threads;
  for (std::uint32_t r = 0; r < exchanging_ranks; ++r) {
    threads.emplace_back([&, r] {
      try {
        const auto g = value_or_throw(meet[r]->join(token, r, table, abort, now() + 20s));
        auto result = body(*g);
        if (r == 0) first = std::move(result);
      } catch (...) {
        std::lock_guard lock(mutex);
        if (!problem) problem = std::current_exception();
        abort.set({errc::aborted, "another rank has failed", {}, {}});
      }
    });
  }
  threads.clear();
  if (problem) std::rethrow_exception(problem);
  return first;
}

/// A gang in threads of this process.
std::vector<double> in_a_gang(const rank_body& body) {
  comm::rendezvous meet(std::nullopt);
  std::vector<comm::gang_member> members;
  for (std::uint32_t r = 0; r < exchanging_ranks; ++r) members.push_back({r, make_boot_id(), {}, {}});
  return on_ranks(std::vector<comm::rendezvous*>(exchanging_ranks, &meet), std::move(members), body);
}

/// A gang of two hosts, with a delay each way between them.
std::vector<double> over_a_delayed_link(duration delay, const rank_body& body) {
  const auto key = comm::secret::random();
  std::vector<std::unique_ptr<comm::rendezvous>> meet;
  std::vector<std::unique_ptr<comm::acceptor>> listeners;
  std::vector<comm::gang_member> members;
  std::vector<comm::rendezvous*> places;
  for (std::uint32_t r = 0; r < exchanging_ranks; ++r) {
    meet.push_back(std::make_unique<comm::rendezvous>(key));
    places.push_back(meet.back().get());
    const auto self = make_boot_id();
    listeners.push_back(value_or_throw(comm::acceptor::listen(
        fmt::format("127.0.0.{}:0", r + 1), key, self,
        [m = places.back()](unique_fd socket, comm::hello from) { m->accepted(std::move(socket), std::move(from)); })));
    members.push_back({r, self, listeners.back()->endpoint(), {}});
  }
  // Ranks dial those below them.
  const delaying_relay link(members[0].endpoint, delay);
  members[0].endpoint = link.endpoint();
  return on_ranks(places, std::move(members), body);
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

/// Computing on something else than the CPU: the rank sleeps until it is done.
void wait_for_device(time_point& free_at, duration work) {
  free_at = std::max(free_at, now()) + work;
  const auto left = free_at - now();
  if (left > 0ns) std::this_thread::sleep_for(left);
}

/// The exchange goes on while a device computes: a step takes what is longer, and the last bucket.
void delayed(session& s) {
  constexpr std::size_t layers = 20, each = 64 << 10;  // floats: 256 KiB
  constexpr duration delay = 500us;
  const std::vector<std::size_t> network(layers, each);
  const int steps = s.quick() ? 3 : 60;
  const auto alone = over_a_delayed_link(delay, [&](comm::group& g) {
    auto all = value_or_throw(comm::gradient_exchange::make(g, network));
    return timed_steps(steps, [&] {
      for (std::size_t i = layers; i-- > 0;) value_or_throw(all.ready(i));
      value_or_throw(all.finish());
    });
  });
  for (const duration work : {500us, 1000us, 2000us}) {
    const auto step = [&](comm::gradient_exchange* all) {
      time_point free_at = now();
      for (std::size_t i = layers; i-- > 0;) {
        wait_for_device(free_at, work);
        if (all != nullptr) value_or_throw(all->ready(i));
      }
      if (all != nullptr) value_or_throw(all->finish());
    };
    const auto compute =
        over_a_delayed_link(delay, [&](comm::group&) { return timed_steps(steps, [&] { step(nullptr); }); });
    const auto both = over_a_delayed_link(delay, [&](comm::group& g) {
      auto all = value_or_throw(comm::gradient_exchange::make(g, network));
      return timed_steps(steps, [&] { step(&all); });
    });
    const bool computes_longer = median(compute) > median(alone);
    s.report({.name = fmt::format("20 layers of {} us on a device", work / 1us),
              .size = "5 MiB, 0.5 ms each way",
              .unit = "us",
              .samples = both,
              .beside = reference{computes_longer ? "computing alone" : "the exchange alone",
                                  std::max(median(compute), median(alone)),
                                  {}},
              .aim = goal{goal::kind::ratio, 1 / 1.15},
              .note = fmt::format("computing alone {:.0f} us, the exchange alone {:.0f} us", median(compute),
                                  median(alone))});
  }
}

const registration delayed_registered{"delayed",
                                      "gradients over a link with added delay, beside the longer of computing "
                                      "and exchanging",
                                      delayed};
const registration gradients_registered{"gradients", "gradients in buckets, beside one call and beside computing",
                                        gradients};

}  // namespace
}  // namespace hydrogen::bench
