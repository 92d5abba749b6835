#pragma once
// What a CUDA device, its streams and its recordings share: events and fault cells to be used again, handles of cuBLAS,
// compiled kernels, and what errors mean. Any thread.
//
// It owns everything that the driver gave, and gives it back when the device is closed. The object itself outlives the
// device where an event of one of its streams does; such a stream has nothing of the driver's any more.

#include <hydrogen/base/error.hpp>
#include <hydrogen/gpu/cuda/blas.cuh>
#include <hydrogen/gpu/cuda/compiled_kernels.cuh>
#include <hydrogen/gpu/cuda/launch.cuh>
#include <hydrogen/gpu/cuda/primary_context.cuh>
#include <hydrogen/gpu/device.hpp>

#include <cuda_runtime_api.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace hydrogen::gpu::cuda {

/// Whether no later work on the device survives it.
bool loses_device(cudaError_t);
/// "cudaMalloc: out of memory (cudaErrorMemoryAllocation)", what to do, and as `where` the device.
error error_of(cudaError_t, const char* call, const std::string& device, errc code = errc::io);

/// An event that returns to its context with the last reference.
using event_ptr = std::shared_ptr<CUevent_st>;

class device_context : public std::enable_shared_from_this<device_context> {
 public:
  /// Makes the device's context, if this process has none yet.
  static expected<std::shared_ptr<device_context>> open(int ordinal, std::string description);
  ~device_context();
  device_context(const device_context&) = delete;
  /// Gives all of it back, and the context of the GPU with the last device of this process. No work is left. Waits for
  /// the driver.
  void close() noexcept;
  /// From here on no event is given out.
  bool closing() const { return closing_.load(); }

  const device_shape& shape() const { return shape_; }
  const std::string& description() const { return description_; }
  /// Every thread calls it before it calls the runtime: which would make a new context behind the end of this one.
  cudaError_t use() const { return closed_.load() ? cudaErrorContextIsDestroyed : cudaSetDevice(shape_.ordinal); }
  error error_of(cudaError_t said, const char* call, errc code = errc::io) const {
    return cuda::error_of(said, call, description_, code);
  }

  /// On a thread that uses the device. Null: `said` has the reason.
  event_ptr take_event(cudaError_t& said);

  /// A stream of the driver's, which waits for no other.
  cudaError_t begin(cudaStream_t&);
  /// Of a stream or recording with nothing under way: what it has, which may be null. `counted`: replays, in its cell.
  /// Nothing once the device is closed.
  void end(cudaStream_t, blas_handle*, const fault_sink&, bool counted);

  /// A fault cell of one stream or recording: all zero.
  expected<fault_sink> take_cell();
  /// What kernels have left in it, if they have. Waits for a copy of some bytes where they have.
  std::optional<fault_record> look(const fault_sink&);
  /// Takes the fault away, so that the next one is seen.
  void clear(const fault_sink&);

  blas_pool products;
  compiled_kernels customs;

  // How many streams the completion thread has; the device waits for the last.
  void begin_watch();
  void end_watch();
  bool watched();
  void wait_unwatched();

 private:
  device_context(device_shape shape, std::string description, std::unique_ptr<primary_context> primary)
      : customs(shape.capability), shape_(shape), description_(std::move(description)), primary_(std::move(primary)) {}
  expected<void> more_cells();
  /// `counted`: it has counted replays. No kernel that uses it is under way.
  void give_back(const fault_sink&, bool counted);

  const device_shape shape_;
  const std::string description_;
  std::unique_ptr<primary_context> primary_;
  std::atomic<bool> closing_{false}, closed_{false};
  std::mutex ending_;  // what streams have is given back by them or by `close`
  std::vector<cudaStream_t> streams_;
  cudaStream_t aside_ = nullptr;  // for copies of faults
  std::mutex mutex_;
  std::condition_variable returned_;
  std::size_t given_out_ = 0;  // events
  std::vector<cudaEvent_t> events_;
  std::vector<fault_sink> cells_;
  std::vector<void*> cell_memory_, notice_memory_;
  std::mutex watch_mutex_;
  std::condition_variable unwatched_;
  int watched_ = 0;
};

}  // namespace hydrogen::gpu::cuda
