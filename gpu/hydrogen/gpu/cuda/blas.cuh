#pragma once
// cuBLAS, loaded when the first product is launched, so that programs without products need none. A stream or recording
// has a handle of its own while it lives: a handle with its workspace serves one queue at a time. Handles are kept,
// since destroying one waits for the device. The pool owns all of them.

#include <cuda_runtime_api.h>

#include <mutex>
#include <string>
#include <vector>

struct cublasContext;

namespace hydrogen::gpu::cuda {

struct blas_handle {
  cublasContext* handle = nullptr;
  void* workspace = nullptr;  // set by hand, since cuBLAS allocates none while a stream is captured
};

class blas_pool {
 public:
  blas_pool() = default;
  blas_pool(const blas_pool&) = delete;
  ~blas_pool() { close(); }
  /// Ends all handles, also those that were taken; on a thread that uses the device.
  void close() noexcept;

  /// For this stream; on a thread that uses the device. Null: `why` says what is missing.
  blas_handle* take(cudaStream_t, std::string& why);
  /// Of a stream or recording that has nothing under way, before its stream is destroyed. Null is none.
  void give_back(blas_handle*);

 private:
  std::mutex mutex_;
  std::vector<blas_handle*> all_, free_;
};

}  // namespace hydrogen::gpu::cuda
