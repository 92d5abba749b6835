// `network`: all-reduces over TCP on this machine, beside what the network model says of them. The loopback device may
// have a rate (--shape-with), the connections a delay (--delay-us); scripts/check_network_model.sh sets both.

#include <hydrogen/base/units.hpp>

#include "bench.hpp"
#include "collective_system.hpp"
#include "host_costs.hpp"
#include "process.hpp"
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <numeric>
#include <thread>

namespace hydrogen::bench {
namespace {

// As comm::linked_engine chooses.
constexpr std::uint64_t one_shot_bytes = 512 << 10;

/// A loopback device has a large MTU, and one wire for all.
network_constants constants_of(session& s) {
  auto c = network_of(s.options().gbit, s.options().delay_us);
  measure_cores(c, s.quick());
  c.gap_us = 0;
  c.segment = 65'483;
  c.headers = 66;  // Ethernet, IP and TCP with time stamps, as `tc` counts them
  if (s.options().shape_with.empty()) c.wire_ns_per_byte = 0;
  return c;
}

double predicted_us(const network_constants& c, std::uint32_t ranks, std::uint64_t bytes) {
  const auto how = bytes * ranks <= one_shot_bytes ? algorithm::one_shot : algorithm::owner_reduce;
  const auto places = network_places::loopback(ranks, std::max(1u, std::thread::hardware_concurrency()));
  return simulate(c, places, bytes, calls_of(how, ranks, bytes / sizeof(float))).us;
}

void check_the_model(session& s) {
  const auto constants = constants_of(s);
  s.remark(text_of(constants));
  if (const auto& command = s.options().shape_with; !command.empty()) {
    const auto shaped = value_or_throw(run_program({"sh", "-c", command}));
    if (shaped.code != 0) throw std::runtime_error(fmt::format("'{}' ends with {}", command, shaped.code));
  }
  const auto delay =
      std::chrono::duration_cast<duration>(std::chrono::duration<double, std::micro>(s.options().delay_us));
  std::vector<std::uint64_t> sizes{8, 64 * KiB};
  if (!s.quick()) sizes = {8, 64 * KiB, MiB, 16 * MiB};
  // A relay copies slower than loopback, and is not what is measured.
  if (delay > 0ns) sizes = {8, MiB};
  for (const std::uint32_t ranks : {2u, 4u}) {
    const auto gang = value_or_throw(start_hydrogen(static_cast<int>(ranks), gang_place::processes_over_tcp, delay));
    for (const auto bytes : sizes) {
      const auto model_us = predicted_us(constants, ranks, bytes);
      timed_call c;
      c.operation = "all_reduce";
      c.bytes = bytes;
      c.warm_up = s.quick() ? 1 : std::clamp(static_cast<int>(1e5 / model_us), 2, 200);
      c.iterations = s.quick() ? 2 : std::clamp(static_cast<int>(1e6 / model_us), 9, 1'000);
      result r;
      r.name = fmt::format("all_reduce, {} ranks over TCP", ranks);
      r.size = format_size(bytes);
      r.unit = "us";
      r.samples = value_or_throw(gang->run(c));
      r.beside = reference{"the model", model_us, 0};
      // What else runs on the machine only adds.
      const auto least = *std::min_element(r.samples.begin(), r.samples.end());
      const auto mean =
          std::accumulate(r.samples.begin(), r.samples.end(), 0.0) / static_cast<double>(r.samples.size());
      r.note = fmt::format("least {:.0f} us, mean {:.0f} us", least, mean);
      s.report(std::move(r));
    }
  }
}

const registration network_registered{"network", "all_reduce over TCP beside what the model of `scale` says",
                                      check_the_model};

}  // namespace
}  // namespace hydrogen::bench
