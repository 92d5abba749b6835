// When devices of an executor are open, and when they are free again.
#include <hydrogen/actors/device_keeper.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <future>

using namespace hydrogen;
using actors::device_keeper;

namespace {

const gang::attempt_ref first{{{1, 1}, 0, 0, 0}, {{1}, 1}}, second{{{1, 1}, 0, 1, 0}, {{1}, 2}};
const std::vector<gang::held_devices> one_device{{"gpu", 1, 1, {0}}};

}  // namespace

TEST_CASE("an attempt is over when as much memory of its devices is free as was before they were opened") {
  constexpr std::uint64_t memory = 1000 << 20;
  std::atomic<std::uint64_t> in_use{70 << 20};
  std::atomic<int> asked{0};
  device_keeper keeper(gpu::virtual_devices(1, memory), [&](const gpu::device_info&) -> expected<std::uint64_t> {
    ++asked;
    asked.notify_all();
    return in_use.load();
  });
  abort_word abort;
  keeper.hold(first, one_device);
  REQUIRE(keeper.lend(first, 0, 0, now() + 10s, abort));
  CHECK(asked == 1);  // before it was opened
  in_use = 500 << 20;
  std::promise<void> closed;
  auto is_closed = closed.get_future();
  REQUIRE(keeper.over(first, [&] { closed.set_value(); }));
  for (int n = asked; n < 3; n = asked) asked.wait(n);
  CHECK(is_closed.wait_for(0s) == std::future_status::timeout);
  in_use = 79 << 20;
  CHECK(is_closed.wait_for(30s) == std::future_status::ready);
}

TEST_CASE("a device stays open while another attempt holds it, and where memory cannot be read closing is enough") {
  device_keeper keeper(gpu::virtual_devices(1, 1 << 20));
  abort_word abort;
  keeper.hold(second, {{"gpu", 1, 1, {}}});
  CHECK(keeper.lend(second, 0, 0, now() + 10s, abort).error().code == errc::not_found);
  keeper.hold(first, one_device);
  const auto on = keeper.lend(first, 0, 0, now() + 10s, abort);
  REQUIRE(on);
  CHECK_FALSE(keeper.over(second, [] {}));
  std::promise<void> closed;
  auto is_closed = closed.get_future();
  REQUIRE(keeper.over(first, [&] { closed.set_value(); }));
  CHECK(is_closed.wait_for(30s) == std::future_status::ready);
}

TEST_CASE("tasks of a lease have seats of their own, and take over those that are free") {
  device_keeper keeper(gpu::virtual_devices(2, 1 << 20));
  abort_word abort;
  keeper.hold(first, {{"gpu", 1, 1, {1, 0}}});
  CHECK(*keeper.take_seat(first, now() + 10s, abort) == 0);
  CHECK(*keeper.take_seat(first, now() + 10s, abort) == 1);
  keeper.leave_seat(first, 0);
  CHECK(*keeper.take_seat(first, now() + 10s, abort) == 0);
  keeper.hold(first, {{"gpu", 1, 1, {1, 0}}});  // said again: nobody loses a seat
  CHECK(*keeper.take_seat(first, now() + 10s, abort) == 2);
  keeper.leave_seat(first, 2);
  CHECK(keeper.devices_of(first, 0, now() + 10s, abort)->at(0).id == "virtual-1");
  CHECK(keeper.devices_of(first, 1, now() + 10s, abort)->at(0).id == "virtual-0");
  CHECK(keeper.take_seat(second, now(), abort).error().code == errc::timed_out);
  abort.set({errc::aborted, "it ends", {}, {}});
  CHECK(keeper.take_seat(second, now() + 10s, abort).error().code == errc::aborted);
}
