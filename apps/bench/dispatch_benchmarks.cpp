// `dispatch`: what it costs an actor to have something done on a device and to hear of it, on a virtual device and,
// where there is one, on the first GPU. On a virtual device beside two changes of threads, which is what such a trip
// cannot do without; on a GPU beside a launch without actors, where actors with streams of their own stand beside one
// stream, too.

#include <hydrogen/actors/device_queue.hpp>
#include <hydrogen/actors/scheduler.hpp>
#include <hydrogen/gpu/repeated_step.hpp>

#include "bench.hpp"
#include "bench_device.hpp"
#include "gpu_dispatch.hpp"
#include "gpu_streams.hpp"
#include <spdlog/fmt/fmt.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace hydrogen::bench {
namespace {

using actors::device_done;
using actors::device_queue_ptr;

struct begin_mail {
  device_queue_ptr on;
  int items = 0;
};

}  // namespace
}  // namespace hydrogen::bench

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(hydrogen::bench::begin_mail)

namespace hydrogen::bench {
namespace {

gpu::kernel empty_kernel() {
  static const gpu::kernel made = value_or_throw(
      gpu::make_kernel({"empty", {}, "extern \"C\" __global__ void empty() {}", [](const gpu::host_call&) {}, ""}));
  return made;
}

/// Enqueues an empty kernel, waits for the mail that it is done, and again.
class pinger : public caf::event_based_actor {
 public:
  pinger(caf::actor_config& cfg, std::function<void(std::vector<double>)> tell)
      : event_based_actor(cfg), tell_(std::move(tell)) {}

  caf::behavior make_behavior() override {
    return {[this](const begin_mail& m) {
              on_ = m.on;
              left_ = m.items;
              times_.clear();
              go();
            },
            [this](const device_done&) {
              times_.push_back(microseconds(hydrogen::now() - begun_));
              if (--left_ > 0) return go();
              on_.reset();
              tell_(std::move(times_));
            },
            [this](const actors::stop_mail&) { quit(); }};
  }

 private:
  void go() {
    begun_ = hydrogen::now();
    on_->stream().launch(empty_kernel(), {}, {}, {}, {});
    on_->notify(caf::actor_cast<caf::actor>(this), 0);
  }

  std::function<void(std::vector<double>)> tell_;
  device_queue_ptr on_;
  int left_ = 0;
  time_point begun_;
  std::vector<double> times_;
};

/// Microseconds of a trip from one thread to another and back, each asleep meanwhile.
std::vector<double> thread_trips(int rounds) {
  std::mutex mutex;
  std::condition_variable there, back;
  int asked = 0, answered = 0;
  bool over = false;
  std::jthread other([&] {
    std::unique_lock lock(mutex);
    while (true) {
      there.wait(lock, [&] { return over || asked != answered; });
      if (over) return;
      answered = asked;
      back.notify_one();
    }
  });
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    const auto begin = now();
    std::unique_lock lock(mutex);
    ++asked;
    there.notify_one();
    back.wait(lock, [&] { return answered == asked; });
    times.push_back(microseconds(now() - begin));
  }
  const std::lock_guard lock(mutex);
  over = true;
  there.notify_one();
  return times;
}

class measured_device {
 public:
  explicit measured_device(const gpu::device_info& info) : device_(value_or_throw(gpu::device::open(info))) {
    config_.load<actors::scheduler>();
    system_ = std::make_unique<caf::actor_system>(config_);
    actor_ = system_->spawn<pinger>([this](std::vector<double> times) {
      const std::lock_guard lock(mutex_);
      times_ = std::move(times);
      changed_.notify_one();
    });
  }
  ~measured_device() { caf::anon_send(actor_, actors::stop_mail{}); }

  std::vector<double> actor_trips(int items) {
    caf::anon_send(actor_, begin_mail{std::make_shared<actors::device_queue>(
                                          value_or_throw(device_->make_stream("actor")), *system_),
                                      items});
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !times_.empty(); });
    return std::exchange(times_, {});
  }

  /// A thread that enqueues and waits.
  std::vector<double> thread_waits(int items) {
    auto s = value_or_throw(device_->make_stream("thread"));
    std::vector<double> times;
    for (int i = 0; i < items; ++i) {
      const auto begin = now();
      s.launch(empty_kernel(), {}, {}, {}, {});
      value_or_throw(s.finish(now() + 60s));
      times.push_back(microseconds(now() - begin));
    }
    return times;
  }

  /// Microseconds of a step of `kernels` empty kernels, one by one, and replayed.
  std::pair<std::vector<double>, std::vector<double>> steps(int kernels, int rounds) {
    auto s = value_or_throw(device_->make_stream("step"));
    const auto counter = s.upload(std::vector<std::uint64_t>{0});
    const auto enqueue = [&] {
      for (int k = 0; k < kernels; ++k) {
        s.enqueue(gpu::work::increment{counter.data()}, {counter.owner()}, {counter.owner()});
      }
    };
    gpu::repeated_step repeated;
    std::pair<std::vector<double>, std::vector<double>> times;
    for (int i = 0; i < rounds + 2; ++i) {
      for (const bool replay : {false, true}) {
        const auto begin = now();
        replay ? repeated.run(s, 0, enqueue) : enqueue();
        value_or_throw(s.finish(now() + 60s));
        if (i >= 2) (replay ? times.second : times.first).push_back(microseconds(now() - begin));
      }
    }
    return times;
  }

  std::string name() const { return device_->description(); }
  bool is_virtual() const { return device_->info().backend == gpu::backend_kind::host; }

 private:
  std::shared_ptr<gpu::device> device_;
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
  caf::actor actor_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<double> times_;
};

void measure(session& s, const gpu::device_info& info) {
  measured_device device(info);
  const auto items = static_cast<int>(s.scaled(20'000));
  device.actor_trips(items / 10 + 1);
  auto trips = device.actor_trips(items);
  if (device.is_virtual()) {
    const auto threads = median(thread_trips(items));
    s.report({.name = "actor to completion mail, " + device.name(),
              .size = "1 empty kernel",
              .unit = "us",
              .samples = std::move(trips),
              .beside = reference{"two changes of threads", threads},
              .aim = goal{goal::kind::at_most, 15},
              .note = {},
              .device = device.name()});
  } else {
    const auto raw = median(device.thread_waits(items));
    s.report({.name = "actor to completion mail, " + device.name(),
              .size = "1 empty kernel",
              .unit = "us",
              .samples = std::move(trips),
              .beside = reference{"a thread that launches and waits", raw},
              .aim = {},
              .note = {},
              .device = device.name()});
  }
  s.report({.name = "thread that enqueues and waits, " + device.name(),
            .size = "1 empty kernel",
            .unit = "us",
            .samples = device.thread_waits(items),
            .beside = {},
            .aim = {},
            .note = {},
            .device = device.name()});
  constexpr int kernels = 20;
  auto [single, replayed] = device.steps(kernels, s.rounds(500));
  const auto one_by_one = median(single);
  s.report({.name = "replayed step, " + device.name(),
            .size = fmt::format("{} tiny kernels", kernels),
            .unit = "us",
            .samples = std::move(replayed),
            .beside = reference{"one by one", one_by_one},
            .aim = device.is_virtual() ? std::nullopt : std::optional(goal{goal::kind::ratio, 2}),
            .note = {},
            .device = device.name()});
}

void dispatch(session& s) {
  measure(s, gpu::virtual_devices(1, MiB * 64)[0]);
  const auto gpu = first_gpu(s);
  if (!gpu) return;
  measure(s, *gpu);
  measure_gpu_dispatch(s, *gpu);
  measure_streams(s, *gpu);
}

const registration dispatch_registered{"dispatch", "a kernel for an actor, and the mail that it is done", dispatch};

}  // namespace
}  // namespace hydrogen::bench
