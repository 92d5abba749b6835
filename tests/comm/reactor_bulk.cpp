// Many frames at once, in both directions.

#include "control_peer.hpp"
#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <thread>

using namespace hydrogen;
using namespace hydrogen::comm;
using namespace hydrogen::comm::test;

namespace {

/// What frame `i` of a direction holds: its size and bytes follow from the seed.
byte_buffer numbered_frame(std::uint64_t base, std::uint64_t i) {
  random_source random(base + i);
  const std::size_t size =
      random.chance(0.001) ? random.below(300'000) : random.below(random.chance(0.1) ? 20'000 : 300);
  return random_bytes(random, size);
}

/// Sends `count` frames, at most `ahead` before they are known to have arrived.
struct direction {
  std::uint64_t base;
  std::uint64_t count;
  std::mutex mutex;
  std::condition_variable changed;
  std::uint64_t arrived = 0;
  std::uint64_t wrong = 0;
  bool broken = false;

  void send_all(connection& c) {
    for (std::uint64_t i = 0; i < count; ++i) {
      {
        std::unique_lock lock(mutex);
        if (!changed.wait_for(lock, ample, [&] { return broken || i - arrived < 2000; }) || broken) return;
      }
      if (!c.send(numbered_frame(base, i))) return;
    }
  }
  void receive(const byte_buffer& b) {
    std::lock_guard lock(mutex);
    if (b != numbered_frame(base, arrived)) ++wrong;
    ++arrived;
    changed.notify_all();
  }
  void lost() {
    std::lock_guard lock(mutex);
    broken = true;
    changed.notify_all();
  }
  bool all() {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, ample, [&] { return broken || arrived == count; }) && arrived == count;
  }
};

void both_ways(fd_pair pair, std::uint64_t count) {
  const auto s = seed();
  CAPTURE(s);
  direction there{s * 1'000'003, count, {}, {}};
  direction back{s * 7'000'003, count, {}, {}};
  const auto handlers = [](direction& in, direction& out) {
    return connection_handlers{[&in](const connection_ptr&, byte_buffer b) { in.receive(b); },
                               [&in, &out](const connection_ptr&, const error&) { in.lost(), out.lost(); }};
  };
  reactor left;
  reactor right;
  const auto a = left.adopt(std::move(pair.a), from_process("right"), handlers(back, there));
  const auto b = right.adopt(std::move(pair.b), from_process("left"), handlers(there, back));
  std::thread one([&] { there.send_all(*a); });
  std::thread other([&] { back.send_all(*b); });
  one.join();
  other.join();
  CHECK(there.all());
  CHECK(back.all());
  CHECK(there.wrong == 0);
  CHECK(back.wrong == 0);
}

}  // namespace

#if defined(__SANITIZE_THREAD__)
constexpr std::uint64_t frames_each_way = 10'000;
#else
constexpr std::uint64_t frames_each_way = 100'000;
#endif

TEST_CASE("100000 frames of random sizes each way arrive whole and in order over TCP") {
  both_ways(tcp_pair(), frames_each_way);
}

TEST_CASE("frames of random sizes arrive whole and in order over a unix socket") {
  both_ways(unix_pair(), frames_each_way / 5);
}
