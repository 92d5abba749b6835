#include <hydrogen/gpu/kernels/elementwise.hpp>

#include "stream_testing.hpp"

using namespace hydrogen;
using namespace hydrogen::gpu;
using namespace hydrogen::gpu::testing;

namespace {

std::shared_ptr<device> device_that_keeps(std::uint64_t keep, std::uint64_t limit) {
  device_options options;
  options.memory_limit = limit;
  options.keep = keep;
  return testing::virtual_device(64 * MiB, 2, options);
}

/// Looks until it holds; another thread makes it so.
template <class F>
void until(const F& holds) {
  const auto end = soon();
  while (!holds()) {
    REQUIRE(now() < end);
    std::this_thread::yield();
  }
}

}  // namespace

TEST_CASE("what a pool need not keep goes back to the device without who dropped it") {
  const auto dev = device_that_keeps(2 * MiB, 16 * MiB);
  auto s = value_or_throw(dev->make_stream("test"));
  const auto usage = [&] { return dev->device_memory().usage(); };
  { const auto a = s.allocate<float>(MiB / 4), b = s.allocate<float>(MiB / 2), c = s.allocate<float>(MiB / 4); }
  until([&] { return usage().kept == 2 * MiB && usage().leaving == 0; });
  CHECK(usage().used == 0);
  std::ignore = s.allocate<float>(MiB / 4);
  std::ignore = s.allocate<float>(MiB / 4);
  CHECK(usage().given_again == 2);  // the largest went
}

TEST_CASE("what is dropped while it is used goes back when that work is done, though nobody asks again") {
  const auto dev = device_that_keeps(MiB, 16 * MiB);
  auto s = value_or_throw(dev->make_stream("test"));
  const auto usage = [&] { return dev->device_memory().usage(); };
  gate open;
  s.launch(calls([&] { open.pass(); }), {}, {}, {}, {});
  { kernels::fill(s, 1.0F, s.allocate<float>(MiB)); }
  CHECK(usage().kept == 4 * MiB);
  open.open();
  until([&] { return usage().kept == 0 && usage().leaving == 0; });
}

TEST_CASE("while the device takes memory back, others drop and allocate, and who needs that memory gets it") {
  const auto dev = device_that_keeps(0, 8 * MiB);
  auto s = value_or_throw(dev->make_stream("test"));
  faults_of(*dev).plan("free_memory", virtual_fault::hang);
  const auto usage = [&] { return dev->device_memory().usage(); };
  { const auto x = s.allocate<float>(MiB); }
  until([&] { return usage().leaving == 4 * MiB; });
  // All of this happens behind a call that does not return.
  for (int i = 0; i < 100; ++i) {
    const auto x = s.allocate<float>(MiB / 4);
    CHECK(dev->device_memory().usage().used == MiB);
    const auto y = s.allocate_pinned<float>(MiB / 4);
  }
  CHECK(usage().leaving == 4 * MiB);
  // There is room for this one only when the call has returned.
  CHECK(failure_of([&] { std::ignore = s.allocate<float>(2 * MiB + 1); }) != "nothing");
  std::thread needs_it([&] {
    auto other = value_or_throw(dev->make_stream("other"));
    CHECK(other.allocate<float>(3 * MiB / 2).size() == 3 * MiB / 2);
    CHECK(usage().used + usage().kept + usage().leaving <= 8 * MiB);
  });
  faults_of(*dev).release();
  needs_it.join();
}

TEST_CASE("who waits for memory on its way back does not wait for a device that is lost") {
  const auto dev = device_that_keeps(0, 8 * MiB);
  auto s = value_or_throw(dev->make_stream("test"));
  faults_of(*dev).plan("free_memory", virtual_fault::hang);
  { const auto x = s.allocate<float>(2 * MiB); }
  until([&] { return dev->device_memory().usage().leaving == 8 * MiB; });
  std::string said;
  std::thread waits([&] { said = failure_of([&] { std::ignore = s.allocate<float>(MiB); }); });
  dev->lose({errc::disconnected, "taken away", {}, {}});
  waits.join();
  CHECK(said.find("taken away") != std::string::npos);
  faults_of(*dev).release();
}

TEST_CASE("a device that has no more memory is asked again when all that is free has been given back") {
  const auto dev = device_that_keeps(64 * MiB, 16 * MiB);
  auto s = value_or_throw(dev->make_stream("test"));
  { const auto x = s.allocate<float>(MiB); }
  faults_of(*dev).plan("allocate_memory", virtual_fault::fail);
  const auto y = s.allocate<float>(MiB / 4);
  CHECK(dev->device_memory().usage().kept == 0);
  CHECK(dev->device_memory().usage().taken_from_device == 2);
  // With nothing to give back it is refused, and counts for nothing.
  faults_of(*dev).plan("allocate_memory", virtual_fault::fail);
  CHECK(failure_of([&] { std::ignore = s.allocate<float>(MiB); }).find("planned") != std::string::npos);
  CHECK(dev->device_memory().usage().used == MiB);
  CHECK(dev->device_memory().usage().coming == 0);
  auto shared = value_or_throw(dev->make_stream("rank 0", 4 * MiB));
  faults_of(*dev).plan("allocate_memory", virtual_fault::fail);
  CHECK(failure_of([&] { std::ignore = shared.allocate<float>(MiB); }) != "nothing");
  CHECK(shared.allocate<float>(MiB).size() == MiB);
}

TEST_CASE("a pool keeps its limit and refuses nobody who fits, whoever allocates and drops at once") {
  constexpr std::uint64_t limit = 8 * MiB;
  const auto dev = device_that_keeps(2 * MiB, limit);
  std::atomic<int> refused{0}, above{0};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      auto s = value_or_throw(dev->make_stream("thread"));
      for (std::uint64_t i = 0; i < 500; ++i) {
        // At most 2 MiB each, of many sizes, so that memory has to go for that of other sizes.
        const auto got = dev->device_memory().allocate(((i * 7 + t * 5) % 16 + 1) * (MiB / 8), nullptr);
        refused += got ? 0 : 1;
        const auto usage = dev->device_memory().usage();
        above += usage.used + usage.kept + usage.coming + usage.leaving <= limit ? 0 : 1;
      }
    });
  }
  for (auto& t : threads) t.join();
  CHECK(refused == 0);
  CHECK(above == 0);
  dev->device_memory().trim(0);
  const auto usage = dev->device_memory().usage();
  CHECK(usage.used == 0);
  CHECK(usage.kept == 0);
}
