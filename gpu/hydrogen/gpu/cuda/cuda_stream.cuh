#pragma once
// A stream of a CUDA device. What is submitted is launched at once, so that kernels of several streams chain on the
// device without the host; only what waits for a stream that is not CUDA's, or not launched itself, is held back, and
// what is behind an exchange of devices, which another thread launches (peers/). How far the device is, the completion
// thread sees from events, which are recorded where somebody wants to know, and now and then.

#include <hydrogen/gpu/backend.hpp>
#include <hydrogen/gpu/cuda/device_context.cuh>
#include <hydrogen/gpu/cuda/held_back.hpp>
#include <hydrogen/gpu/cuda/recorded_graph.cuh>

#include <array>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace hydrogen::gpu::cuda {

class cuda_stream final : public backend_stream {
 public:
  static expected<std::unique_ptr<backend_stream>> make(stream_state&, std::shared_ptr<device_context>);
  ~cuda_stream() override;

  void submit(recorded item, std::uint64_t at) override;
  void submit(std::shared_ptr<prepared_graph> recording, std::uint64_t at) override;
  void wait_for(const std::shared_ptr<stream_state>& other, std::uint64_t at, behind) override;
  void want(std::uint64_t at) override;

  struct progress {
    bool more = false;   // something is under way
    bool moved = false;  // since the last time
  };
  /// On the completion thread, without locks: reports what has been reached. A callback that it calls may end the
  /// device, and with that ask for it again.
  progress poll();
  device_context& context() { return *context_; }

 private:
  cuda_stream(stream_state& state, std::shared_ptr<device_context> context)
      : state_(state), context_(std::move(context)) {}

  struct mark {
    std::uint64_t at = 0;
    event_ptr reached;  // null: as soon as anybody asks
  };
  struct dependency {
    std::uint64_t at;  // the first position behind it
    event on;
  };
  struct replay {
    std::uint64_t at;
    std::uint64_t number;
    std::shared_ptr<recorded_graph> of;  // kept while it runs
  };
  struct refusal {
    std::uint64_t at;
    error why;
    bool lost;
  };

  // With the lock.
  void launch(const recorded& item, std::uint64_t at);
  void launch(const work::all_reduce& what, std::uint64_t at);
  void launch(const std::shared_ptr<recorded_graph>& graph, std::uint64_t at);
  void refuse(std::uint64_t at, error why, bool lost);
  void refuse(std::uint64_t at, cudaError_t said, const char* call);
  /// False: the device is closed, so that all is done.
  bool add_mark();
  // True: the stream is to be watched from now on, which the caller sees to without the lock.
  bool mark_if_wanted();
  bool begins_after_launch();
  bool begin_watch();
  // Streams that wait for each other would keep each other for ever.
  void settle_dependencies();

  void hold(std::unique_lock<std::mutex>&, event after, held_back::action run, behind needs = behind::result);
  void watch(bool begins);
  /// An event at or behind a position that has been launched; null if it has not.
  event_ptr event_behind(std::uint64_t at);
  void report_up_to(std::uint64_t at);
  bool dependencies_settled(std::uint64_t at);
  void lose(cudaError_t said);

  stream_state& state_;
  const std::shared_ptr<device_context> context_;
  cudaStream_t stream_ = nullptr;
  fault_sink faults_;

  std::mutex mutex_;
  blas_handle* product_ = nullptr;
  held_back held_;
  std::uint64_t launched_ = 0;  // up to here all is with the device, or will not be run
  std::uint64_t wanted_ = 0;
  std::uint64_t marked_ = 0;  // by the last mark
  std::deque<mark> marks_;
  std::deque<dependency> dependencies_;
  std::deque<replay> replays_;
  std::optional<refusal> refused_;  // the first launch that failed
  bool watched_ = false;
  std::array<const char*, 8> recent_{};  // kernels, by position, for messages
};

}  // namespace hydrogen::gpu::cuda
