#include "host_costs.hpp"

#include "bench.hpp"
#include "collective_limits.hpp"
#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace hydrogen::bench {
namespace {

// The least of several: what else runs on the machine only adds.
double exchange_us(collective_system& system, std::size_t bytes, int calls) {
  timed_call c;
  c.operation = "exchange";
  c.bytes = bytes;
  c.warm_up = calls / 4 + 1;
  c.iterations = calls;
  const auto times = value_or_throw(system.run(c));
  return *std::min_element(times.begin(), times.end());
}

/// Of each byte that is read or written when two buffers are added.
double add_ns(std::size_t bytes, int rounds) {
  page_vector<float> a(bytes / sizeof(float), 1), b(a);
  const std::byte* sources[] = {reinterpret_cast<std::byte*>(a.data()), reinterpret_cast<std::byte*>(b.data())};
  auto* to = reinterpret_cast<std::byte*>(a.data());
  const auto times = sample_ms(rounds, [&] {
    comm::combine(comm::element::float32, comm::reduction::sum, sources, a.size(), {&to, 1});
  });
  const auto ms = *std::min_element(times.begin(), times.end());
  return ms * 1e6 / (3 * static_cast<double>(bytes));
}

}  // namespace

void assume_cores(network_constants& c) {
  // A plain exchange over loopback of 8 B, 1 MiB and 64 MiB takes 9.02 us, 321 us and 39.8 ms.
  c.overhead_us = 4.5;
  c.cached_copy_ns_per_byte = 0.15;
  c.copy_ns_per_byte = 0.3;
  c.cached_add_ns_per_byte = 0.037;
  c.add_ns_per_byte = 0.075;
  // Not measured: a rank sleeps when it has looked 5 times and given its core away 20 times.
  c.spin_us = 15;
  c.wake_us = 20;
  c.change_us = 2;
  c.meeting_us = 0.2;
  c.memory_ns_per_byte = 0.005;  // 204.8 GB/s: 8 channels of DDR4-3200, as of a server's EPYC
}

void measure_cores(network_constants& c, bool quick) {
  assume_cores(c);
  const auto exchange = value_or_throw(plain_exchange());
  const std::size_t large = quick ? MiB : 64 * MiB;
  // Each side sends one message and receives one.
  const auto small_us = exchange_us(*exchange, 8, quick ? 50 : 2000);
  c.overhead_us = small_us / 2;
  const auto copy = [&](std::size_t bytes, int calls) {
    return std::max(0.01, (exchange_us(*exchange, bytes, calls) - small_us) * 1e3 / (2 * static_cast<double>(bytes)));
  };
  c.cached_copy_ns_per_byte = copy(MiB, quick ? 3 : 100);
  c.copy_ns_per_byte = copy(large, quick ? 3 : 9);
  c.cached_add_ns_per_byte = add_ns(MiB / 8, quick ? 3 : 200);
  c.add_ns_per_byte = add_ns(large, quick ? 3 : 9);
}

std::string text_of(const network_constants& c) {
  return fmt::format(
      "L {:.3g} us, g {:.3g} us, G {:.3g} ns/B; o {:.3g} us, c {:.3g} ns/B in caches, {:.3g} from memory; a {:.3g} and "
      "{:.3g} ns/B; sleeps after {:.3g} us, wakes in {:.3g} us",
      c.latency_us, c.gap_us, c.wire_ns_per_byte, c.overhead_us, c.cached_copy_ns_per_byte, c.copy_ns_per_byte,
      c.cached_add_ns_per_byte, c.add_ns_per_byte, c.spin_us, c.wake_us);
}

}  // namespace hydrogen::bench
