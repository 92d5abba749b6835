// Streams, memory and recordings on every backend that is here: what the tests of virtual devices look at closely, seen
// to hold where kernels run by themselves.

#include <hydrogen/gpu/kernels/elementwise.hpp>
#include <hydrogen/gpu/kernels/layers.hpp>
#include <hydrogen/gpu/kernels/reductions.hpp>
#include <hydrogen/gpu/repeated_step.hpp>

#include "kernel_testing.hpp"

namespace kernel_tests {
namespace {

/// x[i] = 2 * x[i] + a, a thread for each.
kernel twice_plus() {
  static const kernel made = value_or_throw(
      make_kernel({"twice_plus",
                   {{"x", direction::in_out, element::int32}, {"a", direction::value, element::int32}},
                   "extern \"C\" __global__ void twice_plus(int* x, int a) { unsigned* u = (unsigned*)x; "
                   "u[blockIdx.x] = 2u * u[blockIdx.x] + (unsigned)a; }",
                   [](const host_call& call) {
                     for (auto& x : call.out<std::int32_t>(0)) {
                       x = static_cast<std::int32_t>(2U * static_cast<std::uint32_t>(x) + call.value<std::uint32_t>(1));
                     }
                   },
                   ""}));
  return made;
}

void enqueue_twice_plus(stream& s, const buffer<std::int32_t>& x, std::int32_t a) {
  argument numbers{direction::in_out, element::int32, x.data(), x.size(), 0};
  argument value{direction::value, element::int32, nullptr, 0, 0};
  std::memcpy(&value.bits, &a, sizeof a);
  launch_shape shape;
  shape.grid[0] = static_cast<std::uint32_t>(x.size());
  s.launch(twice_plus(), shape, {numbers, value}, {x.owner()}, {x.owner()});
}

std::int32_t twice_plus(std::int32_t x, std::int32_t a) {
  return static_cast<std::int32_t>(2U * static_cast<std::uint32_t>(x) + static_cast<std::uint32_t>(a));
}

}  // namespace

TEST_CASE("a kernel of an application computes the same on every device, also when it is made again") {
  on_every_device([](rig& r) {
    std::vector<std::int32_t> want(1000);
    for (auto& x : want) x = static_cast<std::int32_t>(r.random());
    const auto x = r.put(want);
    for (const std::int32_t a : {3, -7, 0}) {
      enqueue_twice_plus(r.s, x, a);
      for (auto& v : want) v = twice_plus(v, a);
    }
    check_same(r.get(x), want);
    const auto again = value_or_throw(make_kernel(*twice_plus()));
    r.s.prepare(again);
  });
}

TEST_CASE("streams of one device that use the same memory take turns on it") {
  on_every_device([](rig& r) {
    auto a = value_or_throw(r.on->make_stream("a")), b = value_or_throw(r.on->make_stream("b"));
    constexpr std::size_t n = 20'000;
    const auto x = r.put(std::vector<std::int32_t>(n, 1)), seen = r.put(std::vector<std::int32_t>(n, 0));
    std::int32_t want = 1;
    for (int i = 0; i < 200; ++i) {
      enqueue_twice_plus(i % 2 == 0 ? a : b, x, i);
      want = twice_plus(want, i);
      kernels::copy(i % 3 == 0 ? b : a, x, seen);
    }
    check_same(r.get(x), std::vector<std::int32_t>(n, want));
    check_same(r.get(seen), std::vector<std::int32_t>(n, want));
  });
}

TEST_CASE("memory that goes round among streams is written by each owner behind the one before") {
  on_every_device([](rig& r) {
    std::vector<stream> streams;
    for (const char* name : {"a", "b", "c"}) streams.push_back(value_or_throw(r.on->make_stream(name)));
    struct kept {
      buffer<std::int32_t> numbers;
      std::int32_t value;
    };
    std::vector<kept> all;
    for (std::int32_t i = 0; i < 400; ++i) {
      auto& s = streams[r.random.below(streams.size())];
      auto& other = streams[r.random.below(streams.size())];
      const auto fresh = s.allocate<std::int32_t>(4096 + 512 * r.random.below(3));
      if (r.random.chance(0.2)) continue;  // never used
      kernels::fill(other, i, fresh);
      enqueue_twice_plus(s, fresh, 1);
      if (r.random.chance(0.7)) continue;  // dropped while it is used
      all.push_back({fresh, twice_plus(i, 1)});
      if (all.size() > 8) all.erase(all.begin());
    }
    for (const auto& k : all) check_same(r.get(k.numbers), std::vector<std::int32_t>(k.numbers.size(), k.value));
  });
}

TEST_CASE("a step that is replayed does what it does one by one, and a new key records it anew") {
  on_every_device([](rig& r) {
    const auto x = r.put(std::vector<std::int32_t>(1000, 5));
    std::int32_t want = 5;
    repeated_step step;
    const auto replays = r.on->counters().replays.load(), captures = r.on->counters().captures.load();
    for (int i = 0; i < 20; ++i) {
      const std::int32_t a = i < 10 ? 1 : 2;
      step.run(r.s, static_cast<std::uint64_t>(a), [&] {
        enqueue_twice_plus(r.s, x, a);
        enqueue_twice_plus(r.s, x, -a);
      });
      want = twice_plus(twice_plus(want, a), -a);
    }
    check_same(r.get(x), std::vector<std::int32_t>(1000, want));
    CHECK(r.on->counters().captures - captures == 2);
    CHECK(r.on->counters().replays - replays >= 16);
    CHECK(step.replayed() == r.on->counters().replays - replays);
  });
}

TEST_CASE("what a kernel finds wrong fails its stream with kernel and owner, replayed too, and no other stream") {
  on_every_device([](rig& r) {
    for (const bool replayed : {false, true}) {
      CAPTURE(replayed);
      auto bad = value_or_throw(r.on->make_stream("rank 3"));
      const auto logits = r.put(std::vector<float>(40, 0.5F));
      const auto loss = r.blank<float>(4);
      const auto gradient = r.blank<float>(40);
      auto labels = bad.upload(std::vector<std::uint32_t>{0, 1, 2, 3});
      repeated_step step;
      const auto run = [&] {
        const auto enqueue = [&] {
          kernels::softmax_cross_entropy(bad, matrix_of<const float>(logits, 4, 10), labels, 1, loss, gradient);
        };
        replayed ? step.run(bad, 0, enqueue) : enqueue();
      };
      for (int i = 0; i < 5; ++i) run();
      CHECK(bad.finish(now() + std::chrono::seconds(60)));
      const std::vector<std::uint32_t> wrong{0, 1, 77, 3};
      bad.upload(std::span(wrong), labels);
      run();
      const auto failed = bad.finish(now() + std::chrono::seconds(60));
      REQUIRE_FALSE(failed);
      CHECK(failed.error().message().find("rank 3") != std::string::npos);
      CHECK(failed.error().message().find("softmax_cross_entropy") != std::string::npos);
      CHECK(failed.error().message().find("77") != std::string::npos);
      CHECK(r.outcome() == "done");
      CHECK(r.on->health());
    }
  });
}

}  // namespace kernel_tests
