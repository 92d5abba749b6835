// Memory that goes from one buffer to the next while work still uses it, and what a stream's failure is to others.

#include <hydrogen/gpu/kernels/elementwise.hpp>

#include "stream_testing.hpp"

using namespace hydrogen;
using namespace hydrogen::gpu;
using namespace hydrogen::gpu::testing;

namespace {

constexpr std::size_t n = 1000;

std::shared_ptr<device> device_with_one_buffer() {
  device_options options;
  options.memory_limit = 4096;
  return virtual_device(64 * MiB, 3, options);
}

/// A kernel of `s` that waits at the gate, and then writes 7 into all of `x`.
void write_late(stream& s, const buffer<std::int32_t>& x, gate& open) {
  s.launch(calls([&open, at = x.data()] {
             open.pass();
             std::fill(at, at + n, 7);
           }),
           {}, {}, {}, {x.owner()});
}

/// The same with a buffer that is dropped meanwhile: where it was.
const void* drop_late(stream& s, gate& open) {
  const auto x = s.allocate<std::int32_t>(n);
  write_late(s, x, open);
  s.here().then([](const expected<void>&) {});  // so that it begins
  return x.data();
}

/// Somebody wants what is enqueued here, and it still stands behind what is at the gate.
bool is_held_back(const stream& s) {
  const auto end = s.here();
  end.then([](const expected<void>&) {});
  return !end.wait(now() + std::chrono::milliseconds(20));
}

bool all_are(const std::vector<std::int32_t>& v, std::int32_t what) {
  return std::all_of(v.begin(), v.end(), [=](std::int32_t x) { return x == what; });
}

}  // namespace

TEST_CASE("memory that was never used by its second owner is written by the third behind the first") {
  const auto dev = device_with_one_buffer();
  auto a = value_or_throw(dev->make_stream("a")), b = value_or_throw(dev->make_stream("b"));
  gate open;
  const void* first = drop_late(a, open);
  { CHECK(a.allocate<std::int32_t>(n).data() == first); }
  const auto y = b.allocate<std::int32_t>(n);
  REQUIRE(y.data() == first);
  kernels::fill(b, 3, y);
  CHECK(is_held_back(b));
  open.open();
  CHECK(a.finish(soon()));
  CHECK(all_are(read(b, y), 3));
}

TEST_CASE("memory that one stream got back is written by another one behind its last use") {
  const auto dev = virtual_device(64 * MiB, 3);
  auto a = value_or_throw(dev->make_stream("a")), b = value_or_throw(dev->make_stream("b"));
  gate open;
  const void* first = drop_late(a, open);
  const auto y = a.allocate<std::int32_t>(n);
  REQUIRE(y.data() == first);
  kernels::fill(b, 3, y);
  CHECK(is_held_back(b));
  open.open();
  CHECK(a.finish(soon()));
  CHECK(all_are(read(b, y), 3));
}

TEST_CASE("who takes over memory of a stream that fails waits for its end, and does not fail with it") {
  const auto dev = device_with_one_buffer();
  auto a = value_or_throw(dev->make_stream("a")), b = value_or_throw(dev->make_stream("b"));
  gate open;
  {
    const auto x = a.allocate<std::int32_t>(n);
    write_late(a, x, open);
    a.launch(calls([] { throw std::runtime_error("broken"); }), {}, {}, {}, {x.owner()});
  }
  a.here().then([](const expected<void>&) {});
  const auto y = b.allocate<std::int32_t>(n);
  kernels::fill(b, 3, y);
  CHECK(is_held_back(b));
  open.open();
  CHECK(!a.finish(soon()));
  CHECK(all_are(read(b, y), 3));
}

TEST_CASE("who changes in place, or reads, what a failed stream was to write fails with its reason") {
  const auto dev = virtual_device();
  auto a = value_or_throw(dev->make_stream("a")), b = value_or_throw(dev->make_stream("b")),
       c = value_or_throw(dev->make_stream("c"));
  const auto x = a.allocate<float>(n), y = c.allocate<float>(n);
  a.launch(calls([] { throw std::runtime_error("broken"); }), {}, {}, {}, {x.owner()});
  kernels::scale(b, 2, x);
  kernels::copy(c, x, y);
  for (auto* s : {&b, &c}) {
    const auto failed = s->finish(soon());
    REQUIRE(!failed);
    CHECK(failed.error().message().find("broken") != std::string::npos);
  }
}

TEST_CASE("what a failed stream was to write over stays in use until who uses it is done") {
  const auto dev = device_with_one_buffer();
  auto a = value_or_throw(dev->make_stream("a")), failed = value_or_throw(dev->make_stream("failed")),
       c = value_or_throw(dev->make_stream("c"));
  failed.launch(calls([] { throw std::runtime_error("broken"); }), {}, {}, {}, {});
  CHECK(!failed.finish(soon()));
  gate open;
  void* first = nullptr;
  {
    const auto x = a.allocate<std::int32_t>(n);
    first = x.data();
    write_late(a, x, open);
    a.here().then([](const expected<void>&) {});
    kernels::fill(failed, 1, x);
    CHECK(failed.drained(soon()));
  }
  const auto y = c.allocate<std::int32_t>(n);
  REQUIRE(y.data() == first);
  kernels::fill(c, 3, y);
  CHECK(is_held_back(c));
  open.open();
  CHECK(a.finish(soon()));
  CHECK(all_are(read(c, y), 3));
}

TEST_CASE("a virtual device of one thread closes when a stream has more left than one turn, or waits for another one") {
  for (int round = 0; round < 50; ++round) {
    auto dev = virtual_device(64 * MiB, 1);
    std::atomic<int> ran{0};
    constexpr int items = 100;
    {
      auto s = value_or_throw(dev->make_stream("left"));
      for (int i = 0; i < items; ++i) s.launch(calls([&] { ++ran; }), {}, {}, {}, {});
    }
    dev.reset();
    CHECK(ran == items);
  }
  // No thread of the device has begun yet when it is closed.
  auto slow = virtual_device(), dev = virtual_device(64 * MiB, 1);
  auto other = value_or_throw(slow->make_stream("other"));
  gate open;
  other.launch(calls([&] { open.pass(); }), {}, {}, {}, {});
  {
    auto s = value_or_throw(dev->make_stream("parked"));
    const auto x = s.allocate<std::int32_t>(n);
    s.wait_for(other.here());
    kernels::fill(s, 1, x);
    CHECK(!s.finish(now() + std::chrono::milliseconds(5)));
  }
  std::thread closes([&] { dev.reset(); });
  open.open();
  closes.join();
  CHECK(other.finish(soon()));
}

TEST_CASE("a wait that nobody wants any more does not keep a virtual device from closing") {
  for (int round = 0; round < 50; ++round) {
    auto dev = virtual_device(64 * MiB, 1);
    auto other_device = virtual_device();
    auto other = value_or_throw(other_device->make_stream("other"));
    gate open;
    other.launch(calls([&] { open.pass(); }), {}, {}, {}, {});
    {
      auto s = value_or_throw(dev->make_stream("s"));
      kernels::fill(s, 1, s.allocate<std::int32_t>(n));
      const auto filled = s.here();
      s.wait_for(other.here());
      std::ignore = filled.ready();
      CHECK(filled.wait(soon()));
    }
    // A thread of the device may have come to the wait: then closing waits for the other stream.
    open.open();
    dev.reset();
    CHECK(other.finish(soon()));
  }
}

TEST_CASE("small work is done by who waits for it, large work by threads of the device alone") {
  const auto dev = virtual_device(1024 * MiB, 1);
  auto busy = value_or_throw(dev->make_stream("busy")), s = value_or_throw(dev->make_stream("test"));
  gate open;
  busy.launch(calls([&] { open.pass(); }), {}, {}, {}, {});
  busy.here().then([](const expected<void>&) {});  // the only thread of the device is at the gate, or will be
  kernels::fill(s, 1, s.allocate<std::int32_t>(n));
  CHECK(s.finish(soon()));
  kernels::fill(s, 1, s.allocate<std::int32_t>(std::size_t{17} << 20));
  const auto late = s.finish(now() + std::chrono::milliseconds(1100));  // long enough for small work
  REQUIRE(!late);
  CHECK(late.error().code == errc::timed_out);
  open.open();
  CHECK(s.finish(soon()));
  CHECK(busy.finish(soon()));
}

TEST_CASE("who waits with a deadline comes back then, though a kernel of the library hangs") {
  const auto dev = virtual_device();
  auto s = value_or_throw(dev->make_stream("test"));
  faults_of(*dev).plan("fill", virtual_fault::hang);
  kernels::fill(s, 1.0F, s.allocate<float>(n));
  const auto late = s.finish(now() + std::chrono::milliseconds(1100));
  faults_of(*dev).release();
  REQUIRE(!late);
  CHECK(late.error().code == errc::timed_out);
  CHECK(s.finish(soon()));
}
