#include <hydrogen/base/error.hpp>

#include <doctest/doctest.h>
#include <network/prediction.hpp>

#include <cmath>

using namespace hydrogen;
using namespace hydrogen::bench;

namespace {

/// 10 Gbit/s without headers, and cores that cost nothing.
network_constants wire_alone() {
  network_constants c = network_of(10, 20);
  c.gap_us = 0;
  c.headers = 0;
  return c;
}

/// Of an ordinary host.
network_constants ordinary() {
  network_constants c = network_of(25, 10);
  c.overhead_us = 4;
  c.cached_copy_ns_per_byte = 0.15;
  c.copy_ns_per_byte = 0.3;
  c.cached_add_ns_per_byte = 0.03;
  c.add_ns_per_byte = 0.08;
  c.wake_us = 5;
  c.spin_us = 10;
  c.change_us = 2;
  c.memory_ns_per_byte = 0.01;
  c.meeting_us = 0.2;
  return c;
}

constexpr algorithm over_links[] = {algorithm::one_shot, algorithm::owner_reduce, algorithm::rotating_ring};

simulated_run run_of(const network_constants& c, algorithm how, std::uint32_t hosts, std::uint32_t each,
                     std::uint64_t bytes) {
  return simulate(c, network_places::even(hosts, each, 16), bytes, calls_of(how, hosts * each, bytes / sizeof(float)));
}

bool within(double a, double b, double part) {
  return std::abs(a - b) <= part * b;
}

}  // namespace

TEST_CASE("a small message takes overhead, wire, latency and overhead") {
  network_constants c = wire_alone();
  c.overhead_us = 3;
  c.spin_us = 1000;
  const auto run = run_of(c, algorithm::one_shot, 2, 1, 8);
  // 128 bytes, and nothing to be computed.
  CHECK(run.us == doctest::Approx(3 + 128 * 0.8e-3 + 20 + 3));
}

TEST_CASE("where the wire is all, owner reduces takes what the bytes take") {
  const auto c = wire_alone();
  for (const std::uint32_t hosts : {2u, 4u, 8u, 16u}) {
    CAPTURE(hosts);
    constexpr std::uint64_t bytes = 64 << 20;
    const auto run = run_of(c, algorithm::owner_reduce, hosts, 1, bytes);
    const auto closed = owners_bound_us(c, {hosts, 1, 16}, bytes);
    CHECK(run.us >= closed * 0.999);
    CHECK(within(run.us, closed, 0.05));
  }
}

TEST_CASE("where cores are all, owner reduces takes what messages, copies and additions take") {
  auto c = ordinary();
  c.latency_us = 0;
  c.wire_ns_per_byte = 0;
  c.gap_us = 0;
  for (const std::uint32_t hosts : {2u, 4u, 8u, 64u}) {
    CAPTURE(hosts);
    constexpr std::uint64_t bytes = 16 << 20;
    const auto run = run_of(c, algorithm::owner_reduce, hosts, 1, bytes);
    const auto closed = owners_bound_us(c, {hosts, 1, 16}, bytes);
    CHECK(run.us >= closed * 0.999);
    CHECK(within(run.us, closed, 0.1));
  }
}

TEST_CASE("ranks of a host share its wire and its cores") {
  const auto c = wire_alone();
  constexpr std::uint64_t bytes = 16 << 20;
  const auto one = run_of(c, algorithm::owner_reduce, 2, 1, bytes).us;
  const auto four = run_of(c, algorithm::owner_reduce, 2, 4, bytes).us;
  // 4 ranks send half of their 7 shares each to 4 others, twice; one rank sends half its buffer twice.
  CHECK(within(four, one * 4, 0.1));

  auto slow = ordinary();
  slow.wire_ns_per_byte = 0;
  const auto calls = calls_of(algorithm::owner_reduce, 8, bytes / sizeof(float));
  const auto spread = simulate(slow, network_places::even(1, 8, 8), bytes, calls).us;
  const auto shared = simulate(slow, network_places::even(1, 8, 2), bytes, calls).us;
  CHECK(within(shared, spread * 4, 0.1));
}

TEST_CASE("the same call takes the same time, whenever it is simulated") {
  for (const auto how : over_links) {
    const auto first = run_of(ordinary(), how, 8, 4, 1 << 20);
    const auto second = run_of(ordinary(), how, 8, 4, 1 << 20);
    CHECK(first.us == second.us);
    for (std::size_t r = 0; r < first.ranks.size(); ++r) CHECK(first.ranks[r].done_ps == second.ranks[r].done_ps);
  }
}

TEST_CASE("what is sent is received, and large buffers are sent as little as an all-reduce can") {
  for (const auto how : over_links) {
    for (const std::uint32_t hosts : {1u, 3u, 8u}) {
      CAPTURE(title_of(how));
      CAPTURE(hosts);
      constexpr std::uint64_t ranks_of_host = 4;
      const auto ranks = hosts * ranks_of_host;
      const std::uint64_t bytes = ranks * 4096;
      const auto run = run_of(ordinary(), how, hosts, ranks_of_host, bytes);
      std::uint64_t sent = 0, received = 0, messages_sent = 0, messages_received = 0;
      for (const auto& r : run.ranks) {
        sent += r.sent_bytes;
        received += r.received_bytes;
        messages_sent += r.sent_messages;
        messages_received += r.received_messages;
        const auto least = 2 * (ranks - 1) * bytes / ranks;
        CHECK(r.sent_bytes == (how == algorithm::one_shot ? (ranks - 1) * bytes : least));
        CHECK(r.received_bytes == r.sent_bytes);
      }
      CHECK(sent == received);
      CHECK(messages_sent == messages_received);
      CHECK(messages_sent >= ranks * (ranks - 1));
    }
  }
}

TEST_CASE("a hierarchy uses few connections and little of the wire") {
  std::string why;
  const cluster_shape shape{16, 8, 16};
  for (const std::uint64_t bytes : {std::uint64_t{64} << 10, std::uint64_t{16} << 20}) {
    const auto flat = predict(ordinary(), shape, algorithm::owner_reduce, bytes, why);
    const auto layered = predict(ordinary(), shape, algorithm::hierarchical, bytes, why);
    REQUIRE(flat);
    REQUIRE(layered);
    CHECK(flat->connections == 127);
    CHECK(layered->connections == 15);
    CHECK(layered->us < flat->us);
  }
  CHECK(!predict(ordinary(), shape, algorithm::owner_reduce, 8, why));
  CHECK(why == "fewer numbers than ranks");
}

TEST_CASE("a rank that refuses a frame, or waits for one that does not come, ends the simulation") {
  const auto a = calls_of(algorithm::one_shot, 2, 10);
  struct silent final : comm::exchange {
    void start(comm::exchange_port&) override {}
    expected<mutable_byte_view> place(std::uint32_t, const comm::frame_header&) override {
      return fail(errc::bad_input, "is not expected");
    }
    void arrived(std::uint32_t, const comm::frame_header&, comm::exchange_port&) override {}
    bool has_all_of(std::uint32_t) const override { return false; }
  };
  const auto places = network_places::even(2, 1, 1);
  CHECK_THROWS_AS(simulate(ordinary(), places, 40,
                           [&](std::uint32_t r) {
                             return r == 0 ? a(r) : simulated_call{std::make_unique<silent>(), {}};
                           }),
                  failure);
  CHECK_THROWS_AS(simulate(ordinary(), places, 40,
                           [&](std::uint32_t) {
                             return simulated_call{std::make_unique<silent>(), {}};
                           }),
                  failure);
}
