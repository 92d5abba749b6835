#include <hydrogen/gpu/cuda/management_library.hpp>
#include <hydrogen/gpu/device_memory.hpp>

#include "fakes/fake_nvml.hpp"
#include "stream_testing.hpp"
#include <dlfcn.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>

using namespace hydrogen;
using namespace hydrogen::gpu;
using namespace hydrogen::gpu::testing;

namespace {

std::uint64_t in_use(const device_info& of) {
  return value_or_throw(device_memory_in_use(of));
}

/// The fake's variable, as it was when it was loaded.
fake_nvml_state& fake_nvml() {
  void* library = dlopen(HYDROGEN_FAKE_NVML, RTLD_NOW | RTLD_LOCAL);
  REQUIRE(library != nullptr);
  auto* state = static_cast<fake_nvml_state*>(dlsym(library, "fake_nvml"));
  REQUIRE(state != nullptr);
  *state = {};
  return *state;
}

constexpr const char* some_uuid = "GPU-00000000-0000-0000-0000-000000000001";

}  // namespace

TEST_CASE("a virtual device that is closed has given back everything, and that can be read") {
  auto info = virtual_devices(1, 64 * MiB, 1).front();
  info.id = "virtual-read-back";
  CHECK(in_use(info) == 0);
  event kept;
  for (int round = 0; round < 2; ++round) {
    auto dev = value_or_throw(device::open(info));
    auto same = value_or_throw(device::open(info));
    auto s = value_or_throw(dev->make_stream("test"));
    auto t = value_or_throw(same->make_stream("test"));
    auto x = s.allocate<float>(MiB);
    const auto pinned = s.allocate_pinned<float>(MiB);
    CHECK(in_use(info) == 4 * MiB);
    const auto y = t.allocate<float>(2 * MiB);
    CHECK(in_use(info) == 12 * MiB);
    x = {};
    CHECK(in_use(info) == 12 * MiB);  // kept by the pool
    dev->device_memory().trim(0);
    CHECK(in_use(info) == 8 * MiB);
    enqueue_twice_and(s, s.upload(std::vector<std::int32_t>(4, 1)), 1);
    kept = s.here();
  }
  CHECK(in_use(info) == 0);
  CHECK(kept.ready());
  CHECK(kept.wait(soon()));
}

TEST_CASE("a device that is closed waits for the work of others in its memory") {
  auto lender = virtual_device(64 * MiB, 1);
  const auto other = virtual_device(64 * MiB, 1);
  auto s = value_or_throw(other->make_stream("other"));
  const auto result = s.allocate<std::int32_t>(1000);
  gate open;
  {
    auto from_lender = value_or_throw(lender->make_stream("lender"));
    const auto pinned = from_lender.allocate_pinned<std::int32_t>(1000);
    std::fill(pinned.on_host().begin(), pinned.on_host().end(), 7);
    s.launch(calls([&] { open.pass(); }), {}, {}, {}, {});
    s.enqueue(work::copy{pinned.data(), result.data(), result.bytes()}, {pinned.owner()}, {result.owner()});
  }
  std::atomic<bool> closed{false};
  std::thread closes([&] {
    lender.reset();
    closed = true;
  });
  CHECK(!closed);
  open.open();
  closes.join();
  CHECK(read(s, result) == std::vector<std::int32_t>(1000, 7));
}

TEST_CASE("a GPU's memory is read through NVML, by its id") {
  auto& fake = fake_nvml();
  fake.used = 123;
  cuda::management_library library(HYDROGEN_FAKE_NVML);
  CHECK(fake.inits == 0);
  CHECK(value_or_throw(library.memory_in_use(some_uuid)) == 123);
  CHECK(std::string(fake.uuid) == some_uuid);
  fake.used = 124;
  CHECK(value_or_throw(library.memory_in_use(some_uuid)) == 124);
  CHECK(fake.inits == 1);
  CHECK(fake.finds == 2);
  CHECK(fake.reads == 2);
}

TEST_CASE("what NVML refuses is said with its words and what to do, and it is asked again") {
  auto& fake = fake_nvml();
  cuda::management_library library(HYDROGEN_FAKE_NVML);
  const auto error_of = [&] {
    auto read = library.memory_in_use(some_uuid);
    REQUIRE_FALSE(read);
    return read.error();
  };
  fake.init_says = 9;
  CHECK(error_of() == error{errc::refused, "nvmlInit: Driver Not Loaded", {}, "see whether nvidia-smi works here"});
  CHECK(fake.finds == 0);
  fake.init_says = 0;
  fake.find_says = 6;
  CHECK(error_of().code == errc::not_found);
  CHECK(error_of().message() ==
        std::string(some_uuid) + ": nvmlDeviceGetHandleByUUID: Not Found (look at nvidia-smi -L)");
  fake.find_says = 15;
  CHECK(error_of().code == errc::io);
  CHECK(fake.reads == 0);
  fake.find_says = 0;
  fake.memory_says = 15;
  CHECK(error_of().what == "nvmlDeviceGetMemoryInfo: GPU is lost");
  fake.memory_says = 0;
  CHECK(library.memory_in_use(some_uuid));
}

TEST_CASE(
    "without NVML, or with one that lacks a function, a GPU's memory cannot be read, and what is missing is said") {
  cuda::management_library none("libhydrogen-does-not-exist.so.1");
  const auto missing = none.memory_in_use(some_uuid);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == errc::not_found);
  CHECK(missing.error().what.find("libhydrogen-does-not-exist.so.1") != std::string::npos);
  CHECK(missing.error().hint.find("libnvidia-ml.so.1") != std::string::npos);
  cuda::management_library old(HYDROGEN_FAKE_NVML_OLD);
  const auto lacks = old.memory_in_use(some_uuid);
  REQUIRE_FALSE(lacks);
  CHECK(lacks.error().code == errc::not_found);
  CHECK(lacks.error().what.find("it has no nvmlDeviceGetMemoryInfo") != std::string::npos);
}

// In a process of its own, since the other tests keep a device open.
TEST_CASE("alone: a GPU that is closed gives its memory back, and can be opened again" * doctest::skip()) {
  const auto found = find_devices();
  REQUIRE(found);
  REQUIRE_FALSE(found->empty());
  const auto info = found->front();
  const auto before = in_use(info);
  MESSAGE("in use before: ", before);
  const auto most = before + info.memory / 100;
  event kept;
  for (int round = 0; round < 3; ++round) {
    {
      const auto dev = value_or_throw(device::open(info));
      const auto same = value_or_throw(device::open(info));
      auto s = value_or_throw(dev->make_stream("test"));
      const auto x = s.allocate<float>(64 * MiB);
      const auto pinned = s.allocate_pinned<float>(MiB);
      s.enqueue(work::fill{x.data(), x.size(), element::float32, 0}, {}, {x.owner()});
      // With a handle of cuBLAS and its workspace.
      s.enqueue(work::matrix_product{1, x.data(), false, x.data(), false, 0, x.data() + MiB, 64, 64, 64, 1, 0, 0, 0},
                {x.owner()}, {x.owner()});
      s.begin_capture();
      s.enqueue(work::scale{2, x.data(), x.size()}, {}, {x.owner()});
      s.replay(value_or_throw(s.end_capture()));
      kept = s.here();
      CHECK(s.finish(soon()));
      CHECK(in_use(info) >= before + 256 * MiB);
    }
    CHECK(kept.wait(soon()));  // of a stream whose device is closed
    const auto end = soon();
    while (in_use(info) > most && now() < end) std::this_thread::yield();
    const auto after = in_use(info);
    MESSAGE("in use after: ", after);
    CHECK(after <= most);
  }
}

TEST_CASE("a GPU that is closed gives its memory back, and can be opened again") {
  const auto found = find_devices();
  REQUIRE(found);
  if (found->empty()) {
    MESSAGE("skipped: no device");
    return;
  }
  const auto self = std::filesystem::read_symlink("/proc/self/exe").string();
  const auto code = std::system(("'" + self + "' --no-skip --test-case='alone: a GPU that is closed*'").c_str());
  CHECK(WIFEXITED(code));
  CHECK(WEXITSTATUS(code) == 0);
}
