#include "gpu_dispatch.hpp"

#include "bench_device.hpp"
#include "launching_actors.hpp"
#include "raw_cuda.hpp"
#include "timed_kernel.hpp"
#include <spdlog/fmt/fmt.h>

#include <atomic>
#include <thread>

namespace hydrogen::bench {
namespace {

/// Watches a word that a kernel writes, by a thread of its own which does nothing else.
class word_watch {
 public:
  /// Returns when the thread is at it.
  word_watch(std::uint64_t& word, std::uint64_t last)
      : seen_(last + 1), watcher_([this, &word, last] { watch(std::atomic_ref(word), last); }) {
    begun_.wait(false);
  }
  ~word_watch() { end(); }
  word_watch(const word_watch&) = delete;

  /// When each value was seen first; those that were missed have no time.
  const std::vector<time_point>& end() {
    over_ = true;
    if (watcher_.joinable()) watcher_.join();
    return seen_;
  }

 private:
  void watch(std::atomic_ref<std::uint64_t> word, std::uint64_t last) {
    begun_ = true;
    begun_.notify_one();
    std::uint64_t before = 0;
    while (before != last && !over_.load(std::memory_order_relaxed)) {
      const auto value = word.load(std::memory_order_acquire);
      if (value == before || value > last) continue;
      seen_[value] = now();
      before = value;
    }
  }

  std::vector<time_point> seen_;
  std::atomic<bool> begun_ = false, over_ = false;
  std::thread watcher_;  // the last, since it uses the others
};

gpu::kernel kernel_of_nothing() {
  static const gpu::kernel made = value_or_throw(
      gpu::make_kernel({"nothing", {}, "extern \"C\" __global__ void nothing() {}", [](const gpu::host_call&) {}, ""}));
  return made;
}

/// In turns, since a GPU that does little changes its clocks.
void measure_added(session& s, bench_stream& on, launching_actors& by) {
  const auto launch = [](gpu::stream& to, std::uint64_t) { to.launch(kernel_of_nothing(), {}, {}, {}, {}); };
  launch(*on, 0);  // compiles it
  on.finish();
  constexpr int turns = 10;
  const auto each = s.scaled(20'000) / turns + 1;
  raw_cuda::empty_launch plain;
  std::vector<double> mine, raw;
  for (int turn = -1; turn < turns; ++turn) {
    std::vector<double> alone;
    for (std::uint64_t i = 0; i < each; ++i) {
      const auto begin = now();
      plain.enqueue();
      alone.push_back(microseconds(now() - begin));
      plain.finish();
    }
    const auto times = by.run({launch}, each);
    if (turn < 0) continue;
    raw.insert(raw.end(), alone.begin(), alone.end());
    mine.insert(mine.end(), times[0].enqueue_us.begin(), times[0].enqueue_us.end());
  }
  const auto by_itself = median(raw);
  for (auto& us : mine) us -= by_itself;
  s.report({.name = fmt::format("added to a launch by an actor, {}", on.on().info().name),
            .size = "1 empty kernel",
            .unit = "us",
            .samples = std::move(mine),
            .beside = {},
            .aim = goal{goal::kind::at_most, 10},
            .note = fmt::format("a launch by CUDA alone takes {:.2f} us", by_itself),
            .device = on.on().description()});
}

void measure_told(session& s, bench_stream& on, launching_actors& by, std::uint64_t cycles, std::uint64_t rounds,
                  const std::string& kernel) {
  const auto word = (*on).allocate_pinned<std::uint64_t>(1);
  word.on_host()[0] = 0;
  launch_timed(*on, 0, 0, word);  // compiles it
  on.finish();
  std::vector<double> times;
  {
    word_watch watch(word.on_host()[0], rounds);
    const auto told =
        by.run({[&](gpu::stream& to, std::uint64_t round) { launch_timed(to, cycles, round, word); }}, rounds)[0].told;
    const auto& seen = watch.end();
    for (std::uint64_t round = 1; round <= rounds; ++round) {
      if (seen[round] != time_point{}) times.push_back(microseconds(told[round - 1] - seen[round]));
    }
  }
  const auto name = on.on().info().name;
  if (times.size() * 2 < rounds) {
    return s.remark(
        fmt::format("completion to mail, {}, {}: not measured: the thread that looks at the GPU's word was not "
                    "run; it needs a core for itself",
                    name, kernel));
  }
  const auto note = times.size() == rounds ? std::string() : fmt::format("{} not seen", rounds - times.size());
  const auto report = [&](const char* what, goal aim) {
    s.report({.name = fmt::format("{}, {}", what, name),
              .size = kernel,
              .unit = "us",
              .samples = times,
              .beside = {},
              .aim = aim,
              .note = note,
              .device = on.on().description()});
  };
  report("completion to mail", {goal::kind::at_most, 30});
  report("completion to mail, p99", {goal::kind::p99_at_most, 100});
}

}  // namespace

void measure_gpu_dispatch(session& s, const gpu::device_info& gpu) {
  const auto device = value_or_throw(gpu::device::open(gpu));
  bench_stream on(device);
  launching_actors by(device, 1);
  measure_added(s, on, by);
  measure_told(s, on, by, 0, s.scaled(20'000), "1 empty kernel");
  measure_told(s, on, by, 5 * cycles_of_200_us, s.scaled(2'000), "1 kernel of 1 ms");
}

}  // namespace hydrogen::bench
