// Ranks on devices: which they get, and what goes wrong there.

#include <hydrogen/actors/task_actors.hpp>
#include <hydrogen/gpu/host/virtual_faults.hpp>

#include "scenarios.hpp"
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <map>
#include <mutex>
#include <stdexcept>

namespace hydrogen::scenarios {
namespace {

struct device_options {
  std::string notes;  // a file
  std::string fault;  // of rank 1 in the first attempt, or in each one: "always ..."; empty: none
  template <class I>
  friend auto inspect(I& f, device_options& x) {
    return f(x.notes, x.fault);
  }
};

/// Adds one to each number; misbehaves when it is told to.
gpu::kernel add_one(const std::string& fault) {
  return value_or_throw(gpu::make_kernel({"add_one",
                                          {{"x", gpu::direction::in_out, gpu::element::int32}},
                                          {},
                                          [fault](const gpu::host_call& call) {
                                            if (fault == "throw") throw std::runtime_error("rank one computes badly");
                                            while (fault == "hang") pause();
                                            for (auto& x : call.out<std::int32_t>(0)) ++x;
                                          },
                                          ""}));
}

std::int64_t compute(barrier_context& gang, rows<std::int64_t>, const device_options& options) {
  auto fault = gang.rank() == 1 && gang.attempt() == 0 ? options.fault : std::string();
  constexpr std::string_view always = "always ";
  if (gang.rank() == 1 && options.fault.starts_with(always)) fault = options.fault.substr(always.size());
  auto& device = gang.device();
  note(options.notes, "device " + std::to_string(gang.attempt()) + " " + std::to_string(gang.rank()) + " " +
                          device.device().info().id + " " + std::to_string(getpid()));
  auto& s = device.stream();
  const auto x = s.upload(std::vector<std::int32_t>(1000, static_cast<std::int32_t>(gang.rank())));
  if (fault == "memory") std::ignore = s.allocate<float>(std::size_t{1} << 40);
  if (fault == "lose") gpu::faults_of(device.device()).plan("add_one", gpu::virtual_fault::lose);
  const gpu::argument numbers{gpu::direction::in_out, gpu::element::int32, x.data(), x.size(), 0};
  s.launch(add_one(fault), {}, {numbers}, {x.owner()}, {x.owner()});
  if (fault == "kill") raise(SIGKILL);
  // The others wait in a collective while one has trouble with its device.
  device.finish(fault == "hang" ? std::chrono::milliseconds(100) : std::chrono::milliseconds(60'000));
  const auto result = device.download(x);
  std::int64_t sum = 0;
  for (const auto v : result) sum += v;
  gang.all_reduce(sum);
  return sum;
}

/// How many tasks of this process use each device, by address: embedded nodes number theirs alike.
class users {
 public:
  explicit users(const gpu::device& on) : on_(&on) {
    const std::lock_guard lock(mutex());
    now_ = ++counts()[on_];
  }
  ~users() {
    const std::lock_guard lock(mutex());
    --counts()[on_];
  }
  int now() const { return now_; }

 private:
  static std::mutex& mutex() {
    static std::mutex of_process;
    return of_process;
  }
  static std::map<const gpu::device*, int>& counts() {
    static std::map<const gpu::device*, int> of_process;
    return of_process;
  }
  const gpu::device* on_;
  int now_ = 0;
};

std::int64_t compute_task(rows<std::int64_t> numbers, const device_options& options) {
  std::int64_t first = -1, sum = 0;
  for (const auto n : numbers) first = first < 0 ? n : first;
  auto& device = hydrogen::device();
  const users here(device.device());
  // A file tells the first try of a task from those after it.
  const auto tried = options.notes + "." + std::to_string(first);
  const bool again = std::filesystem::exists(tried);
  std::ofstream(tried) << "tried";
  const auto fault = first == 1 && !again ? options.fault : std::string();
  note(options.notes, "task " + std::to_string(first) + " " + std::to_string(again ? 1 : 0) + " " +
                          device.device().info().id + " " + std::to_string(getpid()) + " " +
                          std::to_string(here.now()));
  expect(hydrogen::visible_devices().empty(), "no program sees a virtual device");
  auto& s = device.stream();
  const auto x = s.upload(std::vector<std::int32_t>(100'000, static_cast<std::int32_t>(first)));
  if (fault == "memory") std::ignore = s.allocate<float>(std::size_t{1} << 40);
  if (fault == "lose") gpu::faults_of(device.device()).plan("add_one", gpu::virtual_fault::lose);
  const gpu::argument values{gpu::direction::in_out, gpu::element::int32, x.data(), x.size(), 0};
  s.launch(add_one(fault), {}, {values}, {x.owner()}, {x.owner()});
  if (fault == "kill") raise(SIGKILL);
  for (const auto v : device.download(x, fault == "hang" ? 100ms : 60'000ms)) sum += v;
  return sum;
}

/// Two kernel actors on the device of the task: (x + 1) + 1, which comes back to the host once. The task returns while
/// a third still has work.
std::int64_t compute_by_actors(rows<std::int64_t> numbers) {
  using namespace actors;
  std::vector<std::int32_t> mine;
  for (const auto n : numbers) mine.push_back(static_cast<std::int32_t>(n));
  const auto first = spawn_kernel_actor(add_one(""), {.label = "first"});
  const auto last = spawn_kernel_actor(add_one(""), {.results_as_values = true, .label = "last"});
  caf::scoped_actor self(system_of_task());
  const auto ask = [&](const caf::actor& whom, kernel_call call) {
    kernel_result got;
    self->request(whom, std::chrono::seconds(60), std::move(call))
        .receive([&](kernel_result& r) { got = std::move(r); },
                 [](const caf::error& e) { throw std::runtime_error(to_string(e)); });
    return got;
  };
  auto on_device = ask(first, {{host_numbers::of(mine)}});
  const auto result = ask(last, {{std::get<device_numbers>(on_device.outputs.at(0))}});
  std::int64_t sum = 0;
  for (const auto x : std::get<host_numbers>(result.outputs.at(0)).as<std::int32_t>()) sum += x;
  // An actor of its own hears from its queue by mail.
  const auto queue = open_device_queue("mine");
  queue->stream().upload(mine);
  queue->notify(caf::actor_cast<caf::actor>(self), 7);
  self->receive([&](const device_done& done) {
    if (done.tag != 7 || done.why.code != errc::none) throw std::runtime_error("the queue's mail");
  });
  self->send(first, kernel_call{{host_numbers::of(std::vector<std::int32_t>(1'000'000, 1))}});
  return sum;
}

}  // namespace

/// kernel_actors TASKS COUNT
void kernel_actors(hydrogen::context& ctx) {
  const auto tasks = static_cast<std::uint32_t>(std::stoul(ctx.args().at(1)));
  demand needs;
  if (const auto count = static_cast<std::uint32_t>(std::stoul(ctx.args().at(2))); count != 0) {
    needs.each.devices.push_back({"gpu", count, 1});
  }
  const auto sums = ctx.range(0, 10 * tasks, {.partitions = tasks})
                        .needs(needs)
                        .map_partitions(hydrogen::fn<compute_by_actors>)
                        .collect();
  std::int64_t sum = 0;
  for (const auto s : sums) sum += s;
  const std::int64_t n = 10 * tasks;
  expect(sum == n * (n - 1) / 2 + 2 * n, "two kernels over all numbers");
}

/// devices RANKS COUNT SHARED_BY NOTES FAULT
void devices(hydrogen::context& ctx) {
  const auto ranks = static_cast<std::uint32_t>(std::stoul(ctx.args().at(1)));
  const auto count = static_cast<std::uint32_t>(std::stoul(ctx.args().at(2)));
  const auto shared_by = static_cast<std::uint32_t>(std::stoul(ctx.args().at(3)));
  barrier_options gang{.ranks = ranks, .retries = 1};
  if (count != 0) gang.needs.each.devices.push_back({"gpu", count, shared_by});
  const auto sums = ctx.range(0, 100, {.partitions = 4})
                        .barrier(gang)
                        .map_partitions(hydrogen::fn<compute>, device_options{ctx.args().at(4), ctx.args().at(5)})
                        .collect();
  const auto want = 1000 * std::int64_t{ranks} * (ranks + 1) / 2;
  expect(sums == std::vector<std::int64_t>(ranks, want), "the sum of all ranks");
}

/// device_tasks TASKS COUNT SHARED_BY NOTES FAULT
void device_tasks(hydrogen::context& ctx) {
  const auto tasks = static_cast<std::uint32_t>(std::stoul(ctx.args().at(1)));
  demand needs;
  needs.each.devices.push_back({"gpu", static_cast<std::uint32_t>(std::stoul(ctx.args().at(2))),
                                static_cast<std::uint32_t>(std::stoul(ctx.args().at(3)))});
  const auto sums = ctx.range(0, tasks, {.partitions = tasks})
                        .needs(needs)
                        .map_partitions(hydrogen::fn<compute_task>, device_options{ctx.args().at(4), ctx.args().at(5)})
                        .collect();
  std::vector<std::int64_t> want;
  for (std::int64_t i = 0; i < tasks; ++i) want.push_back(100'000 * (i + 1));
  expect(sums == want, "what each task computes");
}

}  // namespace hydrogen::scenarios
