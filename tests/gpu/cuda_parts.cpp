#include <hydrogen/gpu/backend.hpp>
#include <hydrogen/gpu/cuda/architecture.hpp>
#include <hydrogen/gpu/cuda/fault.hpp>
#include <hydrogen/gpu/cuda/held_back.hpp>
#include <hydrogen/gpu/cuda/kernel_compiler.hpp>
#include <hydrogen/gpu/cuda/philox.hpp>
#include <hydrogen/gpu/cuda/runtime_library.hpp>
#include <hydrogen/gpu/stream.hpp>

#include <doctest/doctest.h>

#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

using namespace hydrogen;
using namespace hydrogen::gpu;
using namespace hydrogen::gpu::cuda;

namespace {

std::shared_ptr<device> virtual_device() {
  return value_or_throw(device::open(virtual_devices(1, 1 << 20, 1).front()));
}

}  // namespace

TEST_CASE("a kernel is compiled for the device itself, else as PTX for the nearest one below it") {
  const int known[] = {75, 80, 86, 90, 100};
  CHECK(choose_architecture(90, known).option == "--gpu-architecture=sm_90");
  CHECK(choose_architecture(90, known).is_binary);
  CHECK(choose_architecture(89, known).option == "--gpu-architecture=compute_86");
  CHECK_FALSE(choose_architecture(89, known).is_binary);
  CHECK(choose_architecture(120, known).option == "--gpu-architecture=compute_100");
  CHECK(choose_architecture(70, known).option.empty());
  CHECK(choose_architecture(90, {}).option.empty());
}

TEST_CASE("a fault says kernel, place, value and limit") {
  const auto text = [](fault_kind kind, std::uint64_t place, std::uint64_t limit) {
    const auto said = describe({0, 1, ~place, limit, 0, kind});
    CHECK(said.code == errc::bad_input);
    return said.what;
  };
  CHECK(text(fault_kind::label, row_of_place(3) | 12, 10) ==
        "kernel 'softmax_cross_entropy': row 3 has the label 12, there are 10 classes");
  CHECK(text(fault_kind::gathered, row_of_place(3) | 12, 10) ==
        "kernel 'gather_rows': row 3 has the index 12, the table has 10 rows");
  CHECK(text(fault_kind::scattered, row_of_place(0) | 0xffffffffU, 10) ==
        "kernel 'scatter_add_rows': row 0 has the index 4294967295, the table has 10 rows");
  CHECK(text(fault_kind::centre, row_of_place(1) | 4, 4) ==
        "kernel 'kmeans_accumulate': row 1 has the index 4, there are 4 centres");
  CHECK(text(fault_kind::bin, row_of_place(3) | 2 << 8 | 200, 64) ==
        "kernel 'histogram': row 3 has the bin 200 of feature 2, there are 64 bins");
  CHECK(text(fault_kind::listed_row, row_of_place(std::uint64_t{1} << 40) | 7, 7) ==
        "kernel 'histogram': row 7 is listed, there are 7 rows");
}

TEST_CASE("Philox4x32-10 gives the words of its authors") {
  const auto check = [](philox_words counter, std::uint32_t low, std::uint32_t high, philox_words want) {
    const auto got = philox(counter, low, high);
    for (int i = 0; i < 4; ++i) CHECK(got.of[i] == want.of[i]);
  };
  check({{0, 0, 0, 0}}, 0, 0, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
  check({{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}}, 0xffffffff, 0xffffffff,
        {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
  check({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0,
        {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
}

TEST_CASE("what is held back runs in order, behind what it waits for") {
  const auto on = virtual_device();
  auto other = value_or_throw(on->make_stream("other"));
  std::vector<int> order;
  std::mutex mutex;
  held_back held;
  const auto note = [&](int i) {
    return [&order, i](const expected<void>& outcome) { order.push_back(outcome ? i : -i); };
  };

  std::unique_lock lock(mutex);
  CHECK(held.empty());
  // An item that nobody has wanted so far: asking for it makes it come.
  auto counter = other.allocate<std::uint64_t>(1);
  *counter.data() = 7;
  other.enqueue(work::increment{counter.data()}, {}, {counter.owner()});
  const auto after = other.here();
  held.push({}, note(1));
  held.push(after, note(2));
  held.push({}, note(3));
  held.push(event{}, note(4));
  while (!held.empty()) held.advance(lock, false);
  CHECK(order == std::vector<int>{1, 2, 3, 4});
  CHECK(*counter.data() == 8);
}

TEST_CASE("what an action has begun is waited for before all else, also where nothing is waited for") {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::vector<int> order;
  bool known = false;
  held_back held;
  held.push({}, [&](const expected<void>&) {
    order.push_back(1);
    held.push_front(
        [&]() -> std::optional<expected<void>> {
          if (!known) return {};
          return fail(errc::io, "not put there");
        },
        [&](const expected<void>& outcome) { order.push_back(outcome ? 2 : -2); });
  });
  held.push({}, [&](const expected<void>&) { order.push_back(3); });
  CHECK(held.advance(lock, false));
  CHECK_FALSE(held.advance(lock, true));
  CHECK(order == std::vector<int>{1});
  known = true;
  CHECK(held.advance(lock, false));
  CHECK(order == std::vector<int>{1, -2, 3});
  CHECK(held.empty());
}

TEST_CASE("what is held back does not begin before its event, nor what is behind it") {
  const auto on = virtual_device();
  auto other = value_or_throw(on->make_stream("other"));
  // A stream that is recorded by hand: nothing in it is reached until this test says so.
  auto state = std::make_shared<stream_state>(*on, "by hand");
  struct silent final : backend_stream {
    void submit(recorded, std::uint64_t) override {}
    void submit(std::shared_ptr<prepared_graph>, std::uint64_t) override {}
    void wait_for(const std::shared_ptr<stream_state>&, std::uint64_t, behind) override {}
    void want(std::uint64_t at) override { wanted = at; }
    std::uint64_t wanted = 0;
  };
  auto queue = std::make_unique<silent>();
  const auto& asked = *queue;
  state->queue = std::move(queue);
  std::mutex mutex;
  std::unique_lock lock(mutex);
  int begun = 0;
  const auto begin = [&](const expected<void>& outcome) { begun += outcome ? 1 : 100; };
  held_back held;

  SUBCASE("it begins when it has been reached") {
    held.push(event(state, 2), begin);
    held.push({}, begin);
    CHECK_FALSE(held.advance(lock, false));
    CHECK(lock.owns_lock());
    CHECK(asked.wanted == 2);
    state->complete(1);
    CHECK_FALSE(held.advance(lock, false));
    CHECK(begun == 0);
    state->complete(2);
    CHECK(held.advance(lock, false));
    CHECK(begun == 2);
    CHECK(held.empty());
  }
  SUBCASE("it is told what went wrong") {
    held.push(event(state, 2), begin);
    state->fail(2, {errc::task_failed, "broken", {}, {}});
    CHECK(held.advance(lock, false));
    CHECK(begun == 100);
  }
  SUBCASE("a stream that has failed waits for nothing") {
    held.push(event(state, 2), begin);
    CHECK(held.advance(lock, true));
    CHECK(begun == 1);
  }
}

TEST_CASE("a library that is not there is no error until it is needed, and then says so") {
  runtime_library none({"libhydrogen-does-not-exist.so.1"});
  void (*function)() = nullptr;
  none.find(function, "f");
  CHECK((function == nullptr));
  CHECK(none.why_not().find("libhydrogen-does-not-exist.so.1") != std::string::npos);

  runtime_library here({"libhydrogen-does-not-exist.so.1", "libc.so.6"});
  CHECK(here.why_not().empty());
  here.find(function, "abort");
  CHECK((function != nullptr));
  CHECK(here.why_not().empty());
  here.find(function, "hydrogen_has_no_such_function");
  CHECK(here.why_not() == "it has no hydrogen_has_no_such_function");
}

TEST_CASE("a device that this process does not see is refused by its name") {
  const auto opened =
      device::open({backend_kind::cuda, "GPU-00000000-0000-0000-0000-000000000000", "none", 0, 1 << 20, 90, 1});
  REQUIRE_FALSE(opened);
  // Without CUDA in the build: refused; with it: not found.
  CHECK((opened.error().code == errc::refused || opened.error().code == errc::not_found));
  CHECK(opened.error().message().find("GPU-00000000") != std::string::npos);
}

TEST_CASE("a GPU is found where one is needed") {
  const auto found = find_devices();
  REQUIRE(found);
  if (std::getenv("HYDROGEN_NEEDS_CUDA") != nullptr) REQUIRE_FALSE(found->empty());
  for (const auto& d : *found) {
    CHECK(d.backend == backend_kind::cuda);
    CHECK(d.id.starts_with("GPU-"));
    CHECK(d.id.size() == std::string_view("GPU-00000000-0000-0000-0000-000000000000").size());
    CHECK(d.memory > 0);
    CHECK(d.capability >= 50);
    CHECK(d.processors > 0);
  }
}

#ifdef HYDROGEN_HAS_CUDA
TEST_CASE("the source of a kernel is compiled without a device, and what does not compile says where") {
  kernel_code code;
  code.name = "twice";
  code.ports = {{"x", direction::in_out, element::float32}};
  code.source = R"(
    #include <cuda_fp16.h>
    template <class T> concept number = requires(T a) { a + a; };
    template <number T> __device__ T twice_of(T x) { return x + x; }
    extern "C" __global__ void twice(float* x) { x[threadIdx.x] = twice_of(x[threadIdx.x]); })";
  const auto image = compile_source(code, 90);
  if (!image && image.error().code == errc::not_found) {
    MESSAGE("no NVRTC here: ", image.error().message());
    return;
  }
  REQUIRE_MESSAGE(image, image.error().message());
  CHECK(image->substr(1, 3) == "ELF");
  const auto portable = compile_source(code, 91);  // of which there is none
  REQUIRE_MESSAGE(portable, portable.error().message());
  CHECK(portable->find(".target sm_90") != std::string::npos);
  CHECK(portable->back() == '\0');
  code.source = "extern \"C\" __global__ void twice(float* x) { y = 1; }";
  const auto broken = compile_source(code, 90);
  REQUIRE_FALSE(broken);
  CHECK(broken.error().code == errc::bad_input);
  CHECK(broken.error().what.find("kernel 'twice'") != std::string::npos);
  CHECK(broken.error().what.find("twice.cu(1)") != std::string::npos);
}
#endif
