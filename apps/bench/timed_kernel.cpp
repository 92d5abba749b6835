#include "timed_kernel.hpp"

#include <hydrogen/base/clock.hpp>

#include <atomic>

namespace hydrogen::bench {
namespace {

constexpr const char* timed_source = R"(
extern "C" __global__ void timed(unsigned long long cycles, unsigned long long value, unsigned long long* word) {
  const long long begin = clock64();
  while (static_cast<unsigned long long>(clock64() - begin) < cycles) {}
  *static_cast<volatile unsigned long long*>(word) = value;
  __threadfence_system();
}
)";

void timed_on_host(const gpu::host_call& call) {
  const auto until = now() + std::chrono::microseconds(call.value<std::uint64_t>(0) * 200 / cycles_of_200_us);
  while (now() < until) {
  }
  std::atomic_ref(call.out<std::uint64_t>(2)[0]).store(call.value<std::uint64_t>(1), std::memory_order_release);
}

}  // namespace

void launch_timed(gpu::stream& s, std::uint64_t cycles, std::uint64_t value, const gpu::buffer<std::uint64_t>& word) {
  using gpu::direction, gpu::element;
  static const gpu::kernel made = value_or_throw(gpu::make_kernel({"timed",
                                                                   {{"cycles", direction::value, element::uint64},
                                                                    {"value", direction::value, element::uint64},
                                                                    {"word", direction::out, element::uint64}},
                                                                   timed_source,
                                                                   timed_on_host,
                                                                   ""}));
  s.launch(made, {},
           {{.how = direction::value, .type = element::uint64, .bits = cycles},
            {.how = direction::value, .type = element::uint64, .bits = value},
            {.how = direction::out, .type = element::uint64, .at = word.data(), .n = 1}},
           {}, {word.owner()});
}

}  // namespace hydrogen::bench
