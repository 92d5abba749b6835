#include <hydrogen/gpu/host/virtual_faults.hpp>
#include <hydrogen/gpu/repeated_step.hpp>
#include <hydrogen/gpu/stream.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

using namespace hydrogen;
using namespace hydrogen::gpu;

namespace {

constexpr std::uint64_t MiB = 1 << 20;

std::shared_ptr<device> virtual_device(std::uint64_t memory = 64 * MiB, std::uint32_t threads = 2,
                                       device_options options = {}) {
  return value_or_throw(device::open(virtual_devices(1, memory, threads)[0], options));
}

time_point soon() {
  return now() + std::chrono::seconds(20);
}

/// x[i] = 2 * x[i] + a, on the host.
kernel twice_and() {
  static const kernel made = value_or_throw(
      make_kernel({"twice_and",
                   {{"x", direction::in_out, element::int32}, {"a", direction::value, element::int32}},
                   {},
                   [](const host_call& call) {
                     for (auto& x : call.out<std::int32_t>(0)) {
                       // Wraps around, as what it is compared with does.
                       x = static_cast<std::int32_t>(2U * static_cast<std::uint32_t>(x) + call.value<std::uint32_t>(1));
                     }
                   },
                   ""}));
  return made;
}

template <class T>
argument of(const buffer<T>& b, direction how) {
  return {how, element_of<std::remove_const_t<T>>, const_cast<std::remove_const_t<T>*>(b.data()), b.size(), 0};
}

argument of(std::int32_t value) {
  argument a{direction::value, element::int32, nullptr, 0, 0};
  std::memcpy(&a.bits, &value, sizeof value);
  return a;
}

void enqueue_twice_and(stream& s, const buffer<std::int32_t>& x, std::int32_t a) {
  s.launch(twice_and(), {}, {of(x, direction::in_out), of(a)}, {x.owner()}, {x.owner()});
}

/// A kernel that runs a function.
kernel calls(std::function<void()> what) {
  return value_or_throw(make_kernel({"calls", {}, {}, [what](const host_call&) { what(); }, ""}));
}

/// Opened once; kernels of tests wait at it.
class gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    is_open_ = true;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return is_open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_open_ = false;
};

std::vector<std::int32_t> read(stream& s, const buffer<std::int32_t>& x) {
  std::vector<std::int32_t> out(x.size(), -1);
  value_or_throw(s.download(x, std::span(out), soon()));
  return out;
}

std::string failure_of(const std::function<void()>& what) {
  try {
    what();
  } catch (const failure& f) {
    return f.what();
  }
  return "nothing";
}

}  // namespace

TEST_CASE("a stream does one thing after the other") {
  const auto dev = virtual_device();
  auto s = value_or_throw(dev->make_stream("test"));
  std::vector<std::int32_t> numbers(1000);
  std::iota(numbers.begin(), numbers.end(), 0);
  const auto x = s.upload(numbers);
  for (int i = 0; i < 5; ++i) enqueue_twice_and(s, x, i);
  auto want = numbers;
  for (auto& v : want) {
    for (int i = 0; i < 5; ++i) v = 2 * v + i;
  }
  CHECK(read(s, x) == want);
  CHECK(s.finish(soon()));
  CHECK(dev->counters().faults == 0);
}

TEST_CASE(
    "streams that use the same memory take their turns on the device: a reader behind the last writer, a writer behind "
    "all readers") {
  const auto dev = virtual_device(64 * MiB, 3);
  constexpr int rounds = 300;
  auto a = value_or_throw(dev->make_stream("a")), b = value_or_throw(dev->make_stream("b")),
       c = value_or_throw(dev->make_stream("c"));
  std::vector<std::int32_t> start(17, 1);
  const auto x = a.upload(start);
  std::vector<buffer<std::int32_t>> seen;
  std::vector<std::int32_t> want;
  std::int32_t value = 1;
  stream* turns[] = {&a, &b, &c};
  for (int i = 0; i < rounds; ++i) {
    enqueue_twice_and(*turns[i % 3], x, i);
    value = static_cast<std::int32_t>(2U * static_cast<std::uint32_t>(value) + static_cast<std::uint32_t>(i));
    want.push_back(value);
    // Read by another stream than the one that writes next.
    auto& reader = *turns[(i + 2) % 3];
    seen.push_back(reader.allocate<std::int32_t>(17));
    reader.enqueue(work::copy{x.data(), seen.back().data(), x.bytes()}, {x.owner()}, {seen.back().owner()});
  }
  for (int i = 0; i < rounds; ++i) CHECK(read(a, seen[i]) == std::vector<std::int32_t>(17, want[i]));
}

TEST_CASE("memory of a buffer that is gone is not given to another stream before its work is done") {
  const auto dev = virtual_device(64 * MiB, 2);
  auto slow = value_or_throw(dev->make_stream("slow")), fast = value_or_throw(dev->make_stream("fast"));
  gate open;
  const std::size_t n = 1 << 16;
  const auto result = slow.allocate<std::int32_t>(n);
  void* place = nullptr;
  {
    const auto x = slow.allocate<std::int32_t>(n);
    place = x.data();
    slow.enqueue(work::copy{std::vector<std::int32_t>(n, 5).data(), x.data(), 0}, {}, {x.owner()});
    slow.launch(calls([&] { open.pass(); }), {}, {}, {}, {x.owner()});
    slow.enqueue(work::copy{x.data(), result.data(), x.bytes()}, {x.owner()}, {result.owner()});
  }
  const auto y = fast.allocate<std::int32_t>(n);
  CHECK(y.data() != place);  // the other is still used
  // The stream itself has it at once: what it enqueues comes behind.
  const auto z = slow.allocate<std::int32_t>(n);
  CHECK(z.data() == place);
  open.open();
  CHECK(slow.finish(soon()));
}

TEST_CASE("when all memory is in use by work under way, the new owner's stream waits for it on the device") {
  const auto dev = virtual_device(1 * MiB, 2);
  auto a = value_or_throw(dev->make_stream("a")), b = value_or_throw(dev->make_stream("b"));
  const std::size_t n = (MiB - 4096) / 4;
  gate open;
  std::atomic<bool> opened{false};
  {
    const auto x = a.allocate<std::int32_t>(n);
    a.launch(calls([&] {
               open.pass();
               opened = true;
             }),
             {}, {}, {}, {x.owner()});
  }
  const auto waits = device_waits_of_this_thread();
  const auto y = b.allocate<std::int32_t>(n);
  std::atomic<bool> in_order{false};
  b.launch(calls([&] { in_order = opened.load(); }), {}, {}, {}, {y.owner()});
  CHECK(device_waits_of_this_thread() == waits);
  open.open();
  CHECK(b.finish(soon()));
  CHECK(in_order);
}

TEST_CASE("a pool says what is in use when there is no room, gives memory again, and keeps its limit") {
  device_options options;
  options.memory_limit = 8 * MiB;
  const auto dev = virtual_device(64 * MiB, 1, options);
  auto s = value_or_throw(dev->make_stream("rank 3"));
  {
    const auto x = s.allocate<float>(MiB);
    CHECK(failure_of([&] { s.allocate<float>(MiB + 1); }).find("in use") != std::string::npos);
    CHECK(failure_of([&] { s.allocate<float>(3 * MiB); }).find("virtual-0") != std::string::npos);
    CHECK(dev->device_memory().usage().used == 4 * MiB);
  }
  for (int i = 0; i < 100; ++i) s.allocate<float>(MiB);
  const auto usage = dev->device_memory().usage();
  CHECK(usage.used == 0);
  CHECK(usage.peak == 4 * MiB);
  CHECK(usage.taken_from_device == 1);
  CHECK(usage.given_again == 100);
  dev->device_memory().trim(0);
  CHECK(dev->device_memory().usage().kept == 0);
  CHECK(s.allocate<float>(0).empty());
  CHECK(failure_of([&] { s.allocate<double>(~std::size_t{0} / 4); }) != "nothing");
}

TEST_CASE("who has a share of a device's memory gets no more, and it is named") {
  const auto dev = virtual_device(64 * MiB);
  auto a = value_or_throw(dev->make_stream("rank 0", 4 * MiB)), b = value_or_throw(dev->make_stream("rank 1", 4 * MiB));
  const auto x = a.allocate<float>(MiB / 2);
  {
    const auto y = a.allocate<float>(MiB / 2);
    const auto refused = failure_of([&] { std::ignore = a.allocate<float>(1); });
    CHECK(refused.find("rank 0") == 0);
    CHECK(refused.find("share of 4 MiB of virtual-0") != std::string::npos);
    std::ignore = b.allocate<float>(MiB);
  }
  std::ignore = a.allocate<float>(MiB / 2);
}

TEST_CASE(
    "a step that repeats is recorded when it comes again, replayed from then on, and recorded anew when it changes") {
  const auto dev = virtual_device();
  auto s = value_or_throw(dev->make_stream("test"));
  const auto x = s.upload(std::vector<std::int32_t>(8, 1)), y = s.upload(std::vector<std::int32_t>(9, 1));
  repeated_step step;
  int made = 0;
  const auto run = [&](const buffer<std::int32_t>& on) {
    step.run(s, on.size(), [&] {
      ++made;
      enqueue_twice_and(s, on, 1);
    });
  };
  for (int i = 0; i < 5; ++i) run(x);
  CHECK(made == 2);  // done once as it is, then recorded
  CHECK(step.recorded() == 1);
  CHECK(step.replayed() == 4);
  for (int i = 0; i < 2; ++i) run(y);
  run(x);
  CHECK(step.recorded() == 2);
  CHECK(step.replayed() == 6);
  CHECK(read(s, x) == std::vector<std::int32_t>(8, 127));
  CHECK(read(s, y) == std::vector<std::int32_t>(9, 7));
  // What cannot be recorded is done as it is.
  for (int i = 0; i < 3; ++i) {
    step.run(s, 100, [&] {
      s.upload(std::span<const std::int32_t>(std::vector<std::int32_t>(8, i)), x);
      enqueue_twice_and(s, x, 1);
    });
  }
  CHECK(step.recorded() == 2);
  CHECK(read(s, x) == std::vector<std::int32_t>(8, 5));
  CHECK(failure_of([&] { step.run(s, 7, [] { throw failure({errc::bad_input, "mine", {}, {}}); }); }) == "mine");
}

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

TEST_CASE("completion is told once, in order, whoever asks and when") {
  const auto dev = virtual_device(64 * MiB, 2);
  auto s = value_or_throw(dev->make_stream("test"));
  std::mutex mutex;
  std::vector<int> order;
  std::condition_variable changed;
  constexpr int n = 500;
  for (int i = 0; i < n; ++i) {
    s.launch(calls([] {}), {}, {}, {}, {});
    s.here().then([&, i](const expected<void>&) {
      const std::lock_guard lock(mutex);
      order.push_back(i);
      changed.notify_all();
    });
  }
  std::unique_lock lock(mutex);
  REQUIRE(changed.wait_for(lock, std::chrono::seconds(20), [&] { return order.size() == n; }));
  lock.unlock();
  CHECK(s.finish(soon()));
  int told = 0;
  event().then([&](const expected<void>&) { ++told; });
  s.here().then([&](const expected<void>&) { ++told; });
  CHECK(told == 2);
}

TEST_CASE("enqueueing never waits; who waits is counted") {
  const auto dev = virtual_device();
  auto s = value_or_throw(dev->make_stream("test"));
  gate open;
  const auto waits = device_waits_of_this_thread();
  s.launch(calls([&] { open.pass(); }), {}, {}, {}, {});
  for (int i = 0; i < 1000; ++i) s.launch(calls([] {}), {}, {}, {}, {});
  const auto end = s.here();
  CHECK(!end.ready());
  CHECK(device_waits_of_this_thread() == waits);
  open.open();
  CHECK(end.wait(soon()));
  CHECK(device_waits_of_this_thread() == waits + 1);
}

TEST_CASE("a recording is replayed with what is in memory then, and keeps its memory") {
  const auto dev = virtual_device();
  auto s = value_or_throw(dev->make_stream("test"));
  auto x = s.upload(std::vector<std::int32_t>(8, 1));
  s.begin_capture();
  enqueue_twice_and(s, x, 1);
  {
    const auto y = s.allocate<std::int32_t>(8);
    s.enqueue(work::copy{x.data(), y.data(), x.bytes()}, {x.owner()}, {y.owner()});
    enqueue_twice_and(s, y, 1);
    s.enqueue(work::copy{y.data(), x.data(), x.bytes()}, {y.owner()}, {x.owner()});
  }
  CHECK(failure_of([&] { s.here(); }).find("recording") != std::string::npos);
  CHECK(failure_of([&] { s.upload(std::vector<std::int32_t>(8, 1)); }).find("recording") != std::string::npos);
  const auto g = value_or_throw(s.end_capture());
  CHECK(g->size() == 4);
  CHECK(read(s, x) == std::vector<std::int32_t>(8, 1));  // nothing was done
  const auto other = s.allocate<std::int32_t>(8);        // not the recording's memory
  s.replay(g);
  s.replay(g);
  CHECK(read(s, x) == std::vector<std::int32_t>(8, 31));
  CHECK(dev->counters().captures == 1);
  CHECK(dev->counters().replays == 2);
  const auto elsewhere = virtual_device();
  auto t = value_or_throw(elsewhere->make_stream("elsewhere"));
  CHECK(failure_of([&] { t.replay(g); }).find("another device") != std::string::npos);
  CHECK(failure_of([&] { std::ignore = t.end_capture(); }).find("no recording") != std::string::npos);
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

TEST_CASE("large uploads and downloads go by pieces") {
  const auto dev = virtual_device(512 * MiB);
  auto s = value_or_throw(dev->make_stream("test"));
  std::vector<std::int32_t> numbers(40 * MiB / 2);  // 80 MiB, more than is staged at a time
  std::iota(numbers.begin(), numbers.end(), 1);
  const auto x = s.upload(numbers);
  CHECK(read(s, x) == numbers);
}

TEST_CASE("a stream that is gone still does its work, and a device can end in a callback") {
  std::atomic<bool> ran{false};
  gate ended;
  {
    auto dev = virtual_device(64 * MiB, 2);
    {
      auto s = value_or_throw(dev->make_stream("gone"));
      s.launch(calls([&] { ran = true; }), {}, {}, {}, {});
    }
    auto s = value_or_throw(dev->make_stream("last"));
    gate open;
    s.launch(calls([&] { open.pass(); }), {}, {}, {}, {});
    // The callback is the last owner of the device.
    s.here().then([&ended, keep = std::move(dev)](const expected<void>&) mutable {
      keep.reset();
      ended.open();
    });
    std::ignore = std::move(s);
    { const auto gone = std::move(s); }
    open.open();
    ended.pass();
  }
  CHECK(ran);
}

TEST_CASE("many threads enqueue to streams of their own on one device") {
  const auto dev = virtual_device(64 * MiB, 2);
  const auto shared = [&] {
    auto s = value_or_throw(dev->make_stream("start"));
    auto x = s.upload(std::vector<std::int32_t>(16, 3));
    value_or_throw(s.finish(soon()));
    return x;
  }();
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      auto s = value_or_throw(dev->make_stream("thread " + std::to_string(t)));
      bool all = true;
      for (int i = 0; i < 100; ++i) {
        const auto x = s.allocate<std::int32_t>(16);
        s.enqueue(work::copy{shared.data(), x.data(), x.bytes()}, {shared.owner()}, {x.owner()});
        enqueue_twice_and(s, x, i);
        all = all && read(s, x) == std::vector<std::int32_t>(16, 6 + i);
      }
      right += all ? 1 : 0;
    });
  }
  for (auto& t : threads) t.join();
  CHECK(right == 6);
}
