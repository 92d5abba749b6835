// Ranks on devices: which they get, and what goes wrong there.

#include <hydrogen/gpu/host/virtual_faults.hpp>

#include "scenarios.hpp"
#include <unistd.h>

#include <atomic>
#include <csignal>
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

}  // namespace

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

}  // namespace hydrogen::scenarios
