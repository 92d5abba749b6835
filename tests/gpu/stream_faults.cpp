#include "stream_testing.hpp"

using namespace hydrogen;
using namespace hydrogen::gpu;
using namespace hydrogen::gpu::testing;

TEST_CASE("what goes wrong in a kernel fails its stream from there on, with device, kernel and owner, and no other") {
  const auto dev = virtual_device();
  auto s = value_or_throw(dev->make_stream("rank 3")), other = value_or_throw(dev->make_stream("rank 4"));
  const auto before = s.here();
  std::atomic<int> ran{0};
  s.launch(calls([&] { ++ran; }), {}, {}, {}, {});
  const auto well = s.here();
  s.launch(calls([] { throw std::runtime_error("no such thing"); }), {}, {}, {}, {});
  s.launch(calls([&] { ++ran; }), {}, {}, {}, {});
  const auto failed = s.finish(soon());
  REQUIRE(!failed);
  CHECK(failed.error().code == errc::task_failed);
  CHECK(failed.error().message() == "rank 3 on virtual-0 (host): kernel 'calls': no such thing");
  CHECK(well.wait(soon()));
  CHECK(before.ready());
  CHECK(ran == 1);
  CHECK(dev->counters().faults == 1);
  other.launch(calls([&] { ++ran; }), {}, {}, {}, {});
  CHECK(other.finish(soon()));
  CHECK(ran == 2);
}

TEST_CASE("who depends on what failed fails with its reason") {
  const auto dev = virtual_device();
  auto a = value_or_throw(dev->make_stream("a")), b = value_or_throw(dev->make_stream("b"));
  const auto x = a.allocate<std::int32_t>(4);
  a.launch(calls([] { throw std::runtime_error("broken"); }), {}, {}, {}, {x.owner()});
  enqueue_twice_and(b, x, 1);
  const auto failed = b.finish(soon());
  REQUIRE(!failed);
  CHECK(failed.error().message().find("a on virtual-0") != std::string::npos);
  // Also when it failed long before.
  auto late = value_or_throw(dev->make_stream("late"));
  enqueue_twice_and(late, x, 1);
  CHECK(!late.finish(soon()));
  auto after = value_or_throw(dev->make_stream("after"));
  after.wait_for(a.here());
  enqueue_twice_and(after, after.allocate<std::int32_t>(4), 1);
  CHECK(!after.finish(soon()));
}

TEST_CASE("a kernel that hangs is named at the deadline, and at an abort nobody waits for it") {
  const auto dev = virtual_device();
  faults_of(*dev).plan("twice_and", virtual_fault::hang, 1);
  auto s = value_or_throw(dev->make_stream("rank 1"));
  const auto x = s.upload(std::vector<std::int32_t>(4, 1));
  enqueue_twice_and(s, x, 0);
  enqueue_twice_and(s, x, 0);
  const auto late = s.finish(now() + std::chrono::milliseconds(50));
  REQUIRE(!late);
  CHECK(late.error().code == errc::timed_out);
  CHECK(late.error().message().find("twice_and is under way") != std::string::npos);
  CHECK(late.error().message().find("rank 1") != std::string::npos);
  abort_word abort;
  std::thread aborter([&] { abort.set({errc::aborted, "the gang was ended", {}, {}}); });
  const auto aborted = s.finish(soon(), &abort);
  aborter.join();
  REQUIRE(!aborted);
  CHECK(aborted.error().code == errc::aborted);
  faults_of(*dev).release();
  CHECK(read(s, x) == std::vector<std::int32_t>(4, 4));
}

TEST_CASE("a device that is taken away ends every wait and every later item, also behind a kernel that hangs") {
  const auto dev = virtual_device();
  faults_of(*dev).plan("twice_and", virtual_fault::hang);
  auto a = value_or_throw(dev->make_stream("a")), b = value_or_throw(dev->make_stream("b"));
  const auto x = a.upload(std::vector<std::int32_t>(4, 1));
  enqueue_twice_and(a, x, 0);
  std::atomic<int> told{0};
  a.here().then([&](const expected<void>& done) { told += done ? 100 : 1; });
  std::thread taker([&] { dev->lose({errc::disconnected, "device virtual-0 was taken away", {}, {}}); });
  const auto lost = a.finish(soon());
  taker.join();
  REQUIRE(!lost);
  CHECK(lost.error().message().find("taken away") != std::string::npos);
  CHECK(told == 1);
  b.launch(calls([] {}), {}, {}, {}, {});
  CHECK(!b.finish(soon()));
  auto late = value_or_throw(dev->make_stream("late"));
  late.launch(calls([] {}), {}, {}, {}, {});
  CHECK(!late.finish(soon()));
  CHECK(!dev->health());
  faults_of(*dev).release();
}

TEST_CASE("wrong kernels and arguments are refused with both types, and nothing is enqueued") {
  const auto dev = virtual_device();
  auto s = value_or_throw(dev->make_stream("test"));
  const auto x = s.allocate<float>(3);
  const auto wrong = failure_of([&] { s.launch(twice_and(), {}, {of(x, direction::in_out), of(1)}, {}, {}); });
  CHECK(wrong == "kernel 'twice_and', port 'x' takes in-out int32, not in-out float");
  CHECK(failure_of([&] { s.launch(twice_and(), {}, {of(1)}, {}, {}); }).find("2 ports, 1 arguments") !=
        std::string::npos);
  const auto device_only = value_or_throw(make_kernel({"k", {}, "extern \"C\" __global__ void k() {}", {}, ""}));
  CHECK(failure_of([&] { s.launch(device_only, {}, {}, {}, {}); }).find("no host function") != std::string::npos);
  CHECK(!make_kernel({"", {}, "x", {}, ""}));
  CHECK(!make_kernel({"k", {}, "", {}, ""}));
  CHECK(!make_kernel({"k", {{"", direction::in, element::int32}}, "x", {}, ""}));
  CHECK(failure_of([&] { std::ignore = x.part(2, 2); }).find("2 elements at 2 of 3") != std::string::npos);
  CHECK(failure_of([&] { std::ignore = x.on_host(); }) != "nothing");
  CHECK(failure_of([&] { matrix_of<float>(x, 2, 2); }).find("3 elements are not 2 x 2") != std::string::npos);
  CHECK(dev->counters().items == 0);
  CHECK(!device::open({backend_kind::cuda, "GPU-none", "none", 99, 1 << 30, 90, 1}));
}
