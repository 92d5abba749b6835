#include "prediction.hpp"

#include <hydrogen/base/error.hpp>
#include <hydrogen/base/units.hpp>
#include <hydrogen/comm/collective/messages.hpp>
#include <hydrogen/comm/collective/owner_reduce.hpp>
#include <hydrogen/comm/collective/rotating_ring.hpp>
#include <hydrogen/comm/tuning.hpp>

#include <algorithm>

namespace hydrogen::bench {
namespace {

constexpr std::uint64_t piece = 256 << 10;
// More takes minutes.
constexpr std::uint64_t most_messages = 60'000'000;
constexpr std::uint64_t memory_of_host = std::uint64_t{256} << 30;
// What Linux gives where nobody raised net.core.rmem_max and wmem_max, each way, and what a link adds.
constexpr double socket_bytes = 2 * 425'984 + 8'192;

std::uint64_t pieces_of(std::uint64_t bytes) {
  return std::max<std::uint64_t>(1, (bytes + piece - 1) / piece);
}

std::uint64_t messages_of(algorithm how, std::uint64_t ranks, std::uint64_t bytes) {
  const auto pairs = ranks * (ranks - 1);
  switch (how) {
    case algorithm::one_shot:
      return pairs * pieces_of(bytes);
    case algorithm::owner_reduce:
      return 2 * pairs * pieces_of(bytes / ranks);
    case algorithm::rotating_ring:
      return 2 * pairs * pieces_of(bytes / ranks) + pairs;
    case algorithm::hierarchical:
    case algorithm::picked:
      break;
  }
  return 0;
}

/// Nanoseconds on the wire.
double wire_ns(const network_constants& c, std::uint64_t bytes, std::uint64_t messages) {
  const double framed = static_cast<double>(bytes) + static_cast<double>(messages * comm::frame_prefix_size);
  const double packets = std::max(framed / c.segment, static_cast<double>(messages));
  return std::max((framed + packets * c.headers) * c.wire_ns_per_byte, static_cast<double>(messages) * c.gap_us * 1e3);
}

/// A rank sends, and receives, `messages` with `bytes` of payload, and adds `added` bytes.
double bound_us(const network_constants& c, const cluster_shape& s, std::uint64_t messages, std::uint64_t bytes,
                double added, std::uint64_t working_set) {
  const bool far = working_set > c.cache_bytes;
  const double copy = far ? c.copy_ns_per_byte : c.cached_copy_ns_per_byte;
  const double add = far ? c.add_ns_per_byte : c.cached_add_ns_per_byte;
  const double core =
      2 * (static_cast<double>(messages) * c.overhead_us + static_cast<double>(bytes) * copy / 1e3) + added * add / 1e3;
  const double share_out = s.ranks() == 1 ? 0 : static_cast<double>(s.ranks() - s.ranks_per_host) / (s.ranks() - 1);
  const double nic = share_out * s.ranks_per_host * wire_ns(c, bytes, messages) / 1e3;
  return std::max(core, nic);
}

std::optional<prediction> of_links(const network_constants& c, const cluster_shape& s, algorithm how,
                                   std::uint64_t bytes, std::string& why) {
  const auto ranks = s.ranks();
  const auto count = bytes / sizeof(float);
  if (ranks > 0xffff) {
    why = "more than 65,535 ranks";
    return {};
  }
  prediction p;
  p.connections = ranks - 1;
  p.socket_bytes = p.connections * socket_bytes;
  if (how == algorithm::owner_reduce && count < ranks) {
    why = "fewer numbers than ranks";
    return {};
  }
  const auto scratch = (bytes + 63) / 64 * 64 * ranks;
  if (how == algorithm::one_shot && scratch * s.ranks_per_host > memory_of_host) {
    why = "scratch of " + format_size(scratch) + " a rank";
    return {};
  }
  if (messages_of(how, ranks, bytes) > most_messages) {
    if (how != algorithm::one_shot) {
      why = std::to_string(messages_of(how, ranks, bytes) / 1'000'000) + " M messages, which take too long to simulate";
      return {};
    }
    p.is_simulated = false;
    p.messages = static_cast<double>(messages_of(how, ranks, bytes)) / ranks;
    p.bytes = static_cast<double>(bytes) * (ranks - 1);
    p.scratch_bytes = static_cast<double>(scratch);
    p.us = one_shot_bound_us(c, s, bytes);
    return p;
  }
  const auto run = simulate(c, network_places::even(s.hosts, s.ranks_per_host, s.cores_per_host), bytes,
                            calls_of(how, ranks, count));
  p.us = run.us;
  for (const auto& r : run.ranks) {
    p.messages = std::max(p.messages, static_cast<double>(r.sent_messages));
    p.bytes = std::max(p.bytes, static_cast<double>(r.sent_bytes));
    p.scratch_bytes = std::max(p.scratch_bytes, static_cast<double>(r.scratch_bytes));
  }
  return p;
}

/// Of the bytes that the ranks of a host read and write together.
double in_shared_memory_us(const network_constants& c, const cluster_shape& s, std::uint64_t bytes,
                           double times_read_or_written) {
  if (s.ranks_per_host == 1) return 0;
  const double cores = std::min(s.ranks_per_host, s.cores_per_host);
  const double one = bytes > c.cache_bytes ? c.add_ns_per_byte : c.cached_add_ns_per_byte;
  const double ns = std::max(one / cores, c.memory_ns_per_byte);
  return times_read_or_written * static_cast<double>(bytes) * ns / 1e3 + s.ranks_per_host * c.meeting_us;
}

}  // namespace

const char* title_of(algorithm how) {
  switch (how) {
    case algorithm::one_shot:
      return "one-shot";
    case algorithm::owner_reduce:
      return "owner reduces";
    case algorithm::hierarchical:
      return "hierarchical";
    case algorithm::rotating_ring:
      return "ring";
    case algorithm::picked:
      break;
  }
  return "";
}

network_constants network_of(double gbit_per_second, double latency_us) {
  network_constants c;
  c.latency_us = latency_us;
  c.gap_us = 0.1;
  c.wire_ns_per_byte = 8 / gbit_per_second;
  return c;
}

double one_shot_bound_us(const network_constants& c, const cluster_shape& s, std::uint64_t bytes) {
  const std::uint64_t others = s.ranks() - 1;
  const double added = static_cast<double>(bytes) * (s.ranks() + 1);
  const double add = bytes * (s.ranks() + 1) > c.cache_bytes ? c.add_ns_per_byte : c.cached_add_ns_per_byte;
  return bound_us(c, s, others * pieces_of(bytes), others * bytes, 0, bytes * (s.ranks() + 1)) + c.latency_us +
         added * add / 1e3;
}

double owners_bound_us(const network_constants& c, const cluster_shape& s, std::uint64_t bytes) {
  const std::uint64_t others = s.ranks() - 1;
  const auto share = bytes / s.ranks();
  const double added = static_cast<double>(share) * (s.ranks() + 1);
  return bound_us(c, s, 2 * others * pieces_of(share), 2 * others * share, added, 2 * bytes) + 2 * c.latency_us;
}

double local_reduce_us(const network_constants& c, const cluster_shape& s, std::uint64_t bytes) {
  return in_shared_memory_us(c, s, bytes, s.ranks_per_host + 1);
}

double local_copy_us(const network_constants& c, const cluster_shape& s, std::uint64_t bytes) {
  return in_shared_memory_us(c, s, bytes, 2 * (s.ranks_per_host - 1));
}

std::optional<prediction> predict(const network_constants& c, const cluster_shape& s, algorithm how,
                                  std::uint64_t bytes, std::string& why) {
  if (how != algorithm::hierarchical) return of_links(c, s, how, bytes, why);
  prediction p;
  if (s.hosts > 1) {
    const auto leaders = cluster_shape{s.hosts, 1, s.cores_per_host};
    const bool small = bytes * s.hosts <= comm::tuning().one_shot_of(s.hosts) || bytes / sizeof(float) < s.hosts;
    const auto of_leaders = of_links(c, leaders, small ? algorithm::one_shot : algorithm::owner_reduce, bytes, why);
    if (!of_leaders) return {};
    p = *of_leaders;
  }
  p.us += local_reduce_us(c, s, bytes) + local_copy_us(c, s, bytes);
  return p;
}

std::function<simulated_call(std::uint32_t)> calls_of(algorithm how, std::uint32_t ranks, std::size_t count) {
  using namespace comm;
  constexpr auto kind = element::float32;
  const auto bytes = count * sizeof(float);
  if (how == algorithm::owner_reduce) {
    return [=](std::uint32_t) -> simulated_call {
      return {std::make_unique<owner_reduce>(reducing{kind, reduction::sum, nowhere(), count}), {}};
    };
  }
  if (how == algorithm::rotating_ring) {
    return [=](std::uint32_t) -> simulated_call {
      return {std::make_unique<rotating_ring>(kind, reduction::sum, nowhere(), count), {}};
    };
  }
  // As linked_engine::reduce_at_once. The addresses are the same for all ranks, since nobody reads there.
  struct addresses {
    std::vector<byte_view> out;
    std::vector<inbox> in;
    std::vector<const std::byte*> sources;
  };
  const auto shared = std::make_shared<addresses>();
  shared->out = {{nowhere(), bytes}};
  shared->in.resize(ranks);
  for (auto& i : shared->in) i.fixed = {nowhere(), bytes};
  shared->sources.resize(ranks, nowhere());
  return [=](std::uint32_t) -> simulated_call {
    return {std::make_unique<messages>(shared->out, shared->in), [shared, bytes, count](exchange_port& m) {
              m.scratch((bytes + 63) / 64 * 64 * m.size());
              m.combine(kind, reduction::sum, shared->sources, count, nowhere());
            }};
  };
}

}  // namespace hydrogen::bench
