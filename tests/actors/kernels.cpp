// Devices behind actors: queues of actors, and kernels as actors.

#include <hydrogen/actors/kernel_actor.hpp>
#include <hydrogen/actors/task_actors.hpp>
#include <hydrogen/gpu/host/virtual_faults.hpp>

#include "stage.hpp"

#include <atomic>
#include <condition_variable>
#include <mutex>

using namespace hydrogen;
using namespace hydrogen::test;
using actors::device_done;
using actors::device_numbers;
using actors::host_numbers;
using actors::kernel_call;
using actors::kernel_result;
using actors::output_size;
using gpu::direction;
using gpu::element;

namespace {

std::shared_ptr<gpu::device> virtual_device(std::uint64_t memory = 64 << 20) {
  return value_or_throw(gpu::device::open(gpu::virtual_devices(1, memory, 2)[0]));
}

/// y = a * x
gpu::kernel times() {
  return value_or_throw(gpu::make_kernel({"times",
                                          {{"a", direction::value, element::float32},
                                           {"x", direction::in, element::float32},
                                           {"y", direction::out, element::float32}},
                                          {},
                                          [](const gpu::host_call& call) {
                                            const auto x = call.in<float>(1);
                                            const auto y = call.out<float>(2);
                                            for (std::size_t i = 0; i < y.size(); ++i)
                                              y[i] = call.value<float>(0) * x[i];
                                          },
                                          ""}));
}

/// Asks an actor and waits, as a test may.
struct answer {
  kernel_result result;
  caf::error why;
};
answer ask(caf::actor_system& system, const caf::actor& whom, kernel_call call) {
  caf::scoped_actor self(system);
  answer got;
  self->request(whom, std::chrono::seconds(30), std::move(call))
      .receive([&](kernel_result& r) { got.result = std::move(r); }, [&](caf::error& e) { got.why = std::move(e); });
  return got;
}

caf::actor spawn(caf::actor_system& system, const std::shared_ptr<gpu::device>& on,
                 actors::kernel_actor_options options) {
  auto queue = std::make_shared<actors::device_queue>(value_or_throw(on->make_stream(options.label)), system);
  return actors::spawn_kernel_actor(std::move(queue), times(), std::move(options), system);
}

std::vector<float> floats(const kernel_result& r) {
  return std::get<host_numbers>(r.outputs.at(0)).as<float>();
}

}  // namespace

TEST_CASE("kernel actors take values and buffers, and chains of them stay on the device") {
  stage s;
  const auto device = virtual_device();
  const auto first = spawn(s.system(), device, {{}, false, "first"});
  const auto last = spawn(s.system(), device, {{}, true, "last"});
  gpu::faults_of(*device).plan("times", gpu::virtual_fault::hang);
  // The first kernel has not begun when its answer comes.
  auto on_device = ask(s.system(), first,
                       {{host_numbers::value(2.0F), host_numbers::of(std::vector<float>{1, 2, 3}), output_size{3}}});
  REQUIRE(!on_device.why);
  auto numbers = std::get<device_numbers>(on_device.result.outputs.at(0));
  CHECK(numbers.n == 3);
  gpu::faults_of(*device).release();
  const auto value = ask(s.system(), last, {{host_numbers::value(10.0F), numbers, output_size{3}}});
  REQUIRE(!value.why);
  CHECK(floats(value.result) == std::vector<float>{20, 40, 60});
  CHECK(numbers.as<float>().size() == 3);
  for (const auto& a : {first, last}) caf::anon_send(a, actors::stop_mail{});
  // Larger than what an upload stages before it waits.
  const auto large = spawn(s.system(), virtual_device(512 << 20), {{}, false, "large"});
  const auto got =
      ask(s.system(), large,
          {{host_numbers::value(2.0F), host_numbers::of(std::vector<float>(18 << 20, 1)), output_size{18 << 20}}});
  CHECK_MESSAGE(!got.why, to_string(got.why));
  caf::anon_send(large, actors::stop_mail{});
  // The worker has never waited for a device, whatever kernel actors did.
  std::promise<std::uint64_t> waits;
  const actors::scheduler::worker_alone alone(s.system());
  s.tell(3, [&] { waits.set_value(gpu::device_waits_of_this_thread()); });
  CHECK(waits.get_future().get() == 0);
}

TEST_CASE("arguments that do not fit a kernel actor are answered with an error that names both types") {
  stage s;
  const auto device = virtual_device();
  const auto actor = spawn(s.system(), device, {{}, true, "times"});
  const auto x = host_numbers::of(std::vector<float>{1, 2, 3});
  const auto a = host_numbers::value(2.0F);
  struct expectation {
    kernel_call call;
    std::vector<std::string> says;
  };
  for (const auto& [call, says] :
       {expectation{{{a, x}}, {"3 ports", "2 arguments"}},
        expectation{{{a, host_numbers::of(std::vector<double>{1}), output_size{1}}}, {"'x'", "float", "double"}},
        expectation{{{x, x, output_size{3}}}, {"'a'", "one number", "3"}},
        expectation{{{a, output_size{3}, output_size{3}}}, {"'x'", "is in"}},
        expectation{{{a, x, output_size{std::size_t{1} << 40}}}, {"4 TiB", "64 MiB"}}}) {
    const auto got = ask(s.system(), actor, call);
    REQUIRE(got.why);
    const auto text = to_string(got.why);
    for (const auto& word : says) CHECK_MESSAGE(text.find(word) != std::string::npos, text);
  }
  CHECK(floats(ask(s.system(), actor, {{a, x, output_size{3}}}).result) == std::vector<float>{2, 4, 6});
  gpu::faults_of(*device).plan("times", gpu::virtual_fault::fail);
  const auto failed = ask(s.system(), actor, {{a, x, output_size{3}}});
  CHECK(to_string(failed.why).find("times on virtual-0") != std::string::npos);
  caf::anon_send(actor, actors::stop_mail{});
}

TEST_CASE("actors enqueue work and hear when it is done, and none of them ever waits for the device") {
  stage s;
  const auto device = virtual_device();
  const auto queue =
      std::make_shared<actors::device_queue>(value_or_throw(device->make_stream("mine", 1 << 20)), s.system());
  caf::scoped_actor self(s.system());
  const auto here = caf::actor_cast<caf::actor>(self);
  std::atomic<std::uint64_t> waits{0};
  std::mutex mutex;
  std::condition_variable changed;
  bool is_open = false;
  const auto gate = value_or_throw(gpu::make_kernel({"gate",
                                                     {},
                                                     {},
                                                     [&](const gpu::host_call&) {
                                                       std::unique_lock lock(mutex);
                                                       changed.wait(lock, [&] { return is_open; });
                                                     },
                                                     ""}));
  constexpr int items = 50;
  for (int i = 0; i < items; ++i) {
    s.tell(1, [&, i] {
      const auto before = gpu::device_waits_of_this_thread();
      if (i == 0) queue->stream().launch(gate, {}, {}, {}, {});
      queue->stream().upload(std::vector<std::int32_t>(100, i));
      queue->notify(here, static_cast<std::uint64_t>(i));
      waits += gpu::device_waits_of_this_thread() - before;
    });
  }
  // An actor of the same worker answers while the device is busy.
  std::atomic<bool> alive{false};
  s.tell(0, [&] { alive = true; });
  wait_until("another actor", [&] { return alive.load(); });
  {
    const std::lock_guard lock(mutex);
    is_open = true;
    changed.notify_all();
  }
  std::vector<std::uint64_t> done;
  while (done.size() < items) {
    self->receive([&](const device_done& d) {
      CHECK(d.why.code == errc::none);
      done.push_back(d.tag);
    });
  }
  CHECK(std::is_sorted(done.begin(), done.end()));
  CHECK(waits == 0);
}

TEST_CASE("what a kernel actor is given must be of one size, in memory that it lies in, on its device") {
  stage s;
  const auto device = virtual_device(), other = virtual_device();
  const auto actor = spawn(s.system(), device, {{}, true, "times"});
  auto here = value_or_throw(device->make_stream("here")), there = value_or_throw(other->make_stream("there"));
  const auto three = device_numbers::of(here.upload(std::vector<float>{1, 2, 3}));
  const auto a = host_numbers::value(2.0F);
  auto beyond = three, before = three, nowhere = three;
  beyond.n = 1000;
  before.at = static_cast<float*>(three.at) - 1;
  nowhere.memory = nullptr;
  struct expectation {
    kernel_call call;
    std::vector<std::string> says;
  };
  for (const auto& [call, says] :
       {expectation{{{a, three, output_size{4}}}, {"'x' has 3", "'y' has 4"}},
        expectation{{{a, device_numbers::of(there.upload(std::vector<float>{1, 2, 3})), output_size{3}}},
                    {"'x'", "virtual-0"}},
        expectation{{{a, beyond, output_size{1000}}}, {"'x'", "1000 numbers", "do not lie"}},
        expectation{{{a, before, output_size{3}}}, {"'x'", "do not lie"}},
        expectation{{{a, nowhere, output_size{3}}}, {"'x'", "without memory"}}}) {
    const auto got = ask(s.system(), actor, call);
    REQUIRE(got.why);
    CHECK(got.why == caf::sec::invalid_argument);
    const auto text = to_string(got.why);
    for (const auto& word : says) CHECK_MESSAGE(text.find(word) != std::string::npos, text);
  }
  // With a shape of its own the application says what fits.
  const auto free =
      spawn(s.system(), device, {[](std::span<const gpu::argument>) { return gpu::launch_shape{}; }, true, "free"});
  CHECK(floats(ask(s.system(), free, {{a, three, output_size{2}}}).result) == std::vector<float>{2, 4});
  for (const auto& x : {actor, free}) caf::anon_send(x, actors::stop_mail{});
}

TEST_CASE("a kernel that nothing can run is refused when its actor is made") {
  stage s;
  const auto device = virtual_device();
  const auto only_cuda = value_or_throw(gpu::make_kernel({"k", {}, "extern \"C\" __global__ void k() {}", {}, ""}));
  const auto queue = std::make_shared<actors::device_queue>(value_or_throw(device->make_stream("k")), s.system());
  CHECK_THROWS_WITH_AS(actors::spawn_kernel_actor(queue, only_cuda, {}, s.system()),
                       doctest::Contains("no host function"), failure);
}

TEST_CASE("outside of a task there is no actor system and no device for its actors") {
  CHECK_THROWS_WITH_AS(actors::system_of_task(), doctest::Contains("no task"), failure);
  CHECK_THROWS_AS(actors::spawn_kernel_actor(times()), failure);
}
