// `scale`: what an all-reduce would take on hosts that are not here, by the exchanges of production in a simulated
// network. docs/scale.md has the model.

#include <hydrogen/base/units.hpp>

#include "bench.hpp"
#include "host_costs.hpp"
#include <spdlog/fmt/fmt.h>

#include <atomic>
#include <exception>
#include <thread>

namespace hydrogen::bench {
namespace {

constexpr algorithm all_algorithms[] = {algorithm::one_shot, algorithm::owner_reduce, algorithm::hierarchical,
                                        algorithm::rotating_ring};

struct point {
  cluster_shape shape;
  std::uint64_t bytes;
  algorithm how;
  std::optional<prediction> result;
  std::string why;
  std::exception_ptr problem;
};

/// Simulates all points, one a core.
void simulate_all(const network_constants& c, std::vector<point>& points) {
  std::atomic<std::size_t> next{0};
  std::vector<std::jthread> workers;
  for (unsigned w = 0; w < std::max(1u, std::thread::hardware_concurrency()); ++w) {
    workers.emplace_back([&] {
      for (auto i = next++; i < points.size(); i = next++) {
        auto& p = points[i];
        try {
          p.result = predict(c, p.shape, p.how, p.bytes, p.why);
        } catch (...) {
          p.problem = std::current_exception();
        }
      }
    });
  }
  workers.clear();
  for (const auto& p : points) {
    if (p.problem) std::rethrow_exception(p.problem);
  }
}

std::string shape_text(const cluster_shape& s) {
  return fmt::format("{} rank{} on {} host{}", s.ranks(), s.ranks() == 1 ? "" : "s", s.hosts, s.hosts == 1 ? "" : "s");
}

/// The fastest that gives the bits of the tree.
const point* picked(std::span<const point> same_call) {
  const point* best = nullptr;
  for (const auto& p : same_call) {
    if (!p.result || p.how == algorithm::rotating_ring) continue;
    if (best == nullptr || p.result->us < best->result->us) best = &p;
  }
  return best;
}

void report(session& s, const point& p, bool is_picked) {
  const auto& r = *p.result;
  result row;
  row.name = fmt::format("{}, {}", title_of(p.how), shape_text(p.shape));
  row.size = format_size(p.bytes);
  row.unit = "us";
  row.samples = {r.us};
  row.note = fmt::format("{} messages, {} sent, scratch {}, {} connections, sockets {}{}{}", r.messages,
                         format_size(static_cast<std::uint64_t>(r.bytes)),
                         format_size(static_cast<std::uint64_t>(r.scratch_bytes)), r.connections,
                         format_size(static_cast<std::uint64_t>(r.socket_bytes)),
                         r.is_simulated ? "" : "; closed form, not simulated", is_picked ? "; PICKED" : "");
  s.report(std::move(row));
}

std::vector<cluster_shape> shapes_of(session& s) {
  const auto& o = s.options();
  if (o.hosts != 0) return {{o.hosts, o.ranks_per_host}};
  if (s.quick()) return {{1, 8}, {8, 8}};
  s.remark("4,096 ranks take many minutes: --hosts 512 --ranks-per-host 8");
  return {{1, 8}, {8, 1}, {8, 8}, {64, 1}, {64, 8}, {512, 1}};
}

void simulate_many_hosts(session& s) {
  auto constants = network_of(s.options().gbit, s.options().latency_us);
  assume_cores(constants);
  s.remark("a simulation: sums of float; per rank, the most that one has; 64 cores a host");
  s.remark(text_of(constants));
  const auto sizes =
      s.quick() ? std::vector<std::uint64_t>{8, 64 * KiB} : std::vector<std::uint64_t>{8, 64 * KiB, MiB, 64 * MiB};
  for (const auto& shape : shapes_of(s)) {
    std::vector<point> points;
    for (const auto bytes : sizes) {
      for (const auto how : all_algorithms) points.push_back({shape, bytes, how, {}, {}, {}});
    }
    simulate_all(constants, points);
    for (std::size_t i = 0; i < points.size(); i += std::size(all_algorithms)) {
      const auto same_call = std::span(points).subspan(i, std::size(all_algorithms));
      const auto* best = picked(same_call);
      for (const auto& p : same_call) {
        if (p.result) {
          report(s, p, &p == best);
        } else {
          s.remark(fmt::format("{}, {}: {}, {}", title_of(p.how), shape_text(p.shape), format_size(p.bytes), p.why));
        }
      }
    }
  }
}

const registration scale_registered{"scale", "an all-reduce on many hosts, simulated", simulate_many_hosts};

}  // namespace
}  // namespace hydrogen::bench
