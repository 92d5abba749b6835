#include <hydrogen/comm/area.hpp>

#include "gang.hpp"
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

using namespace hydrogen;
using namespace hydrogen::comm;

namespace {

/// In memory of the host.
std::shared_ptr<area> area_of_two() {
  const auto bytes = area::bytes_on_host(2);
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(at != MAP_FAILED);
  const std::shared_ptr<void> keep(at, [bytes](void* memory) { ::munmap(memory, bytes); });
  return area::create(static_cast<std::byte*>(at), 2, keep);
}

}  // namespace

TEST_CASE("memory that a rank of the same process has given back in the middle of a call is an error, not a crash") {
  const auto there = area_of_two();
  there->introduce(0);
  constexpr std::size_t size = 1 << 20;
  auto* theirs =
      static_cast<std::byte*>(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  REQUIRE(theirs != MAP_FAILED);
  theirs[0] = theirs[size - 1] = std::byte{7};
  std::vector<std::byte> copy(size);
  const auto address = reinterpret_cast<std::uint64_t>(theirs);
  REQUIRE(there->read(0, address, copy));
  CHECK(copy[0] == std::byte{7});
  CHECK(copy[size - 1] == std::byte{7});
  ::munmap(theirs, size);
  const auto gone = there->read(0, address, copy);
  REQUIRE(!gone);
  CHECK(gone.error().code == errc::disconnected);
}

TEST_CASE("ranks of one process are told once that they may begin: when the gate is open and all have come") {
  // What happens last of the three: the gate, a rank, or who wants to be told.
  for (const int last : {0, 1, 2}) {
    CAPTURE(last);
    area there(2);
    int told = 0;
    const auto step = [&](int what) {
      if (what == 0) there.open();
      if (what == 1) CHECK(there.come(1, join_plan(1)));
      if (what == 2) there.on_start([&] { ++told; });
    };
    CHECK(there.come(0, join_plan(1)));
    for (int what = 0; what < 3; ++what) {
      if (what != last) step(what);
    }
    CHECK(told == 0);
    step(last);
    CHECK(told == 1);
    there.open();
    CHECK(told == 1);
  }
}

TEST_CASE("a thread that is moved to a gate sees what happened there before it came") {
  for (const bool opens : {true, false}) {
    CAPTURE(opens);
    const auto there = area_of_two();
    REQUIRE(there->come(0, join_plan(1)));
    std::atomic<std::uint32_t> word{0};
    std::atomic<pid_t> id{0};
    bool woken = false;
    std::thread sleeper([&] {
      id = ::gettid();
      woken = futex_wait(word, 0, now() + 20s, futex_reach::host);
    });
    testing::await_sleep(id);
    REQUIRE(there->expect_sleeper());
    if (opens) {
      REQUIRE(there->come(1, join_plan(1)));
      there->open();
    } else {
      there->lost(1);
    }
    word = 2;
    there->move_sleeper(word, 2);
    sleeper.join();
    CHECK(woken);
    there->sleeper_woke();
    CHECK_FALSE(there->expect_sleeper());
  }
}

TEST_CASE("a gate that is opened before all have come wakes nobody") {
  const auto there = area_of_two();
  REQUIRE(there->come(0, join_plan(1)));
  there->open();
  CHECK(there->expect_sleeper());  // nothing to see
  there->sleeper_woke();
  REQUIRE(there->come(1, join_plan(1)));
  CHECK_FALSE(there->expect_sleeper());
}
