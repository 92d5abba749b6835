#pragma once
// How the kernels of work.hpp are launched. Private to cuda/: CUDA types stay here. A launch enqueues to the context's
// stream and never waits; what goes wrong stands in the context afterwards.

#include <hydrogen/gpu/cuda/fault.hpp>
#include <hydrogen/gpu/work.hpp>

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>

namespace hydrogen::gpu::cuda {

class blas_pool;
struct blas_handle;
class compiled_kernels;

/// Where the kernels of a stream or recording say what is wrong with their data.
struct fault_sink {
  fault_record* record = nullptr;    // in device memory
  std::uint32_t* noticed = nullptr;  // in memory of the host, so that it sees without a copy that there is a record
  std::uint64_t owner = 0;
};

/// What a device has, as far as launches depend on it.
struct device_shape {
  int ordinal = 0;
  std::uint32_t capability = 0;
  std::uint32_t multiprocessors = 1;
  std::size_t most_shared = 0;  // bytes of shared memory that a block can be given
};

struct launch_context {
  const device_shape& device;
  cudaStream_t stream;
  void* scratch;  // as much as scratch_for says
  fault_sink faults;
  blas_pool& products;
  blas_handle*& product;  // of this stream or recording, made at its first product
  compiled_kernels& customs;

  cudaError_t status = cudaSuccess;  // the first that was none
  const char* call = "";             // what said so
  std::string refusal{};             // words of a library, instead of these

  void check(cudaError_t said, const char* by) {
    if (said == cudaSuccess || failed()) return;
    status = said;
    call = by;
  }
  bool failed() const { return status != cudaSuccess || !refusal.empty(); }
};

void launch(const work::fill&, launch_context&);
void launch(const work::copy&, launch_context&);
void launch(const work::cast&, launch_context&);
void launch(const work::axpy&, launch_context&);
void launch(const work::scale&, launch_context&);
void launch(const work::clip_by_global_norm&, launch_context&);
void launch(const work::reduce_ranks&, launch_context&);
/// Refused: such a one is not launched by the thread that enqueues (cuda_stream), and not recorded.
void launch(const work::all_reduce&, launch_context&);
void launch(const work::reduce_to_scalar&, launch_context&);
void launch(const work::argmax&, launch_context&);
void launch(const work::matrix_product&, launch_context&);
void launch(const work::add_bias&, launch_context&);
void launch(const work::sum_rows&, launch_context&);
void launch(const work::activate&, launch_context&);
void launch(const work::activate_gradient&, launch_context&);
void launch(const work::layer_norm&, launch_context&);
void launch(const work::layer_norm_gradient&, launch_context&);
void launch(const work::softmax_cross_entropy&, launch_context&);
void launch(const work::dropout&, launch_context&);
void launch(const work::gather_rows&, launch_context&);
void launch(const work::scatter_add_rows&, launch_context&);
void launch(const work::sgd_step&, launch_context&);
void launch(const work::adam_step&, launch_context&);
void launch(const work::kmeans_assign&, launch_context&);
void launch(const work::kmeans_accumulate&, launch_context&);
void launch(const work::histogram&, launch_context&);
void launch(const work::increment&, launch_context&);
void launch(const work::custom&, launch_context&);

/// c = beta * c, for products without an inner dimension.
void scale_product(const work::matrix_product&, launch_context&);
/// A replay of a recording begins; `faults` are its own.
void count_replay(const fault_sink& faults, cudaStream_t);

/// An error if this build has no kernels that the current device can run.
cudaError_t find_kernels();

/// Launches it, and asks for launch errors.
void launch_any(const work::any&, launch_context&);

// Bytes of scratch memory; of all other kernels none.
std::size_t scratch_for(const work::clip_by_global_norm&);
std::size_t scratch_for(const work::reduce_to_scalar&);
std::size_t scratch_for(const work::sum_rows&);
std::size_t scratch_for(const work::layer_norm_gradient&);
std::size_t scratch_for(const work::scatter_add_rows&);
std::size_t scratch_for(const work::adam_step&);
std::size_t scratch_for(const work::kmeans_accumulate&);
std::size_t scratch_for_any(const work::any&);

}  // namespace hydrogen::gpu::cuda
