#pragma once
// A recording as a CUDA graph: what the items launch, captured once. Shared by its replays, which the driver puts in
// order.

#include <hydrogen/gpu/backend.hpp>
#include <hydrogen/gpu/cuda/device_context.cuh>

#include <memory>
#include <mutex>
#include <vector>

namespace hydrogen::gpu::cuda {

class recorded_graph final : public prepared_graph {
 public:
  static expected<std::shared_ptr<prepared_graph>> make(std::shared_ptr<device_context>, std::vector<recorded> items);
  /// No replay is under way.
  ~recorded_graph() override;

  /// Enqueues a replay, and says which it is, from 1.
  cudaError_t replay(cudaStream_t, std::uint64_t& number);
  /// The fault of this replay, which is taken away with it.
  std::optional<error> take_fault(std::uint64_t replay);

 private:
  explicit recorded_graph(std::shared_ptr<device_context> context) : context_(std::move(context)) {}
  expected<void> capture(const std::vector<recorded>& items);

  const std::shared_ptr<device_context> context_;
  cudaStream_t stream_ = nullptr;  // of the capture, kept as long as the handle of cuBLAS that knows it
  fault_sink faults_;
  blas_handle* product_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
  std::mutex mutex_;
  std::uint64_t replays_ = 0;  // in the order of their launches
};

}  // namespace hydrogen::gpu::cuda
