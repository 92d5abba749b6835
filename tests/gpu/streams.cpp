#include <hydrogen/gpu/kernels/elementwise.hpp>
#include <hydrogen/gpu/kernels/reductions.hpp>

#include "stream_testing.hpp"

#include <barrier>

using namespace hydrogen;
using namespace hydrogen::gpu;
using namespace hydrogen::gpu::testing;

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

TEST_CASE("streams that wait for each other by turns go on, whoever runs them when") {
  // As ranks that share a device: each writes its parts, the last to come with one adds it up on a stream between them,
  // which another thread waits for, too; then each reads.
  constexpr std::uint32_t ranks = 2, parts = 4, rounds = 15'000;
  const auto dev = virtual_device(64 * MiB, 2);
  auto between = value_or_throw(dev->make_stream("between"));
  std::vector<std::vector<buffer<float>>> all(parts);
  for (auto& part : all) {
    for (std::uint32_t r = 0; r < ranks; ++r) part.push_back(between.allocate<float>(16));
  }
  std::mutex mutex;
  std::uint32_t come[parts] = {};
  std::barrier enqueued(ranks);
  std::atomic<std::uint32_t> wrong{0};
  std::vector<std::thread> threads;
  for (std::uint32_t r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      auto mine = value_or_throw(dev->make_stream("rank " + std::to_string(r)));
      for (std::uint32_t n = 0; n < rounds; ++n) {
        event last;
        for (std::uint32_t p = 0; p < parts; ++p) {
          kernels::fill(mine, static_cast<float>(n + r), all[p][r]);
          const std::lock_guard lock(mutex);
          if (++come[p] < ranks) continue;
          come[p] = 0;
          kernels::reduce_ranks(between, work::reduction::sum, all[p], all[p]);
          last = between.here();
        }
        std::thread watches([&] { wrong += last.wait(soon()) ? 0 : 1; });
        enqueued.arrive_and_wait();
        for (std::uint32_t p = 0; p < parts; ++p) {
          std::vector<float> got(16);
          const auto read = mine.download(all[p][r], std::span(got), soon());
          wrong += read && got == std::vector<float>(16, static_cast<float>(ranks * n + 1)) ? 0 : 1;
        }
        watches.join();
        if (wrong != 0) return enqueued.arrive_and_drop();
      }
    });
  }
  for (auto& t : threads) t.join();
  CHECK(wrong == 0);
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
  CHECK(end.wait(now()).error().code == errc::timed_out);
  CHECK(device_waits_of_this_thread() == waits + 1);
  open.open();
  CHECK(end.wait(soon()));
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
