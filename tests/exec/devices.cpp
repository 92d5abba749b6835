// What a task sees of its devices, whoever lends them.
#include <hydrogen/exec/devices.hpp>

#include <doctest/doctest.h>

#include <tuple>

using namespace hydrogen;
using namespace hydrogen::exec;

TEST_CASE("programs that a task starts see its GPUs and no others") {
  abort_word abort;
  std::vector<gpu::device_info> all = gpu::virtual_devices(3, 1 << 20);
  device_lender from{[](std::size_t) -> expected<lent_device> { return fail(errc::internal, "nothing is opened"); },
                     [&]() -> expected<std::vector<gpu::device_info>> { return all; }};
  task_devices devices(
      from, [] { return "a task"; }, abort);
  const current_devices here(devices);
  CHECK(visible_devices().empty());
  all[0].backend = all[2].backend = gpu::backend_kind::cuda;
  all[0].id = "GPU-1";
  all[2].id = "GPU-2";
  CHECK(visible_devices() == "GPU-1,GPU-2");
  task_devices none(
      {}, [] { return "a task without"; }, abort);
  const current_devices inside(none);
  CHECK(visible_devices().empty());
}

TEST_CASE("devices outside of a task are refused") {
  for (const auto call : {+[] { std::ignore = device(); }, +[] { std::ignore = visible_devices(); }}) {
    try {
      call();
      FAIL("not refused");
    } catch (const failure& f) {
      CHECK(f.reason().code == errc::refused);
    }
  }
}
