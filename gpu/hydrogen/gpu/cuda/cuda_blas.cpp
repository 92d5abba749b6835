#include <hydrogen/gpu/cuda/blas.cuh>
#include <hydrogen/gpu/cuda/launch.cuh>
#include <hydrogen/gpu/cuda/runtime_library.hpp>

#include <cublas_v2.h>

#include <cstdint>

namespace hydrogen::gpu::cuda {
namespace {

constexpr std::size_t workspace_bytes = std::size_t{32} << 20;  // what NVIDIA advises for Hopper

struct library {
  decltype(&cublasCreate_v2) create = nullptr;
  decltype(&cublasDestroy_v2) destroy = nullptr;
  decltype(&cublasSetStream_v2) set_stream = nullptr;
  decltype(&cublasSetWorkspace_v2) set_workspace = nullptr;
  decltype(&cublasSetMathMode) set_math_mode = nullptr;
  decltype(&cublasGetStatusString) status_string = nullptr;
  decltype(&cublasSgemm_v2_64) product = nullptr;
  decltype(&cublasSgemmStridedBatched_64) products = nullptr;
  std::string why_not;  // it cannot be used
};

library load() {
  library made;
  runtime_library loaded({"libcublas.so.13", "libcublas.so.12"});
  loaded.find(made.create, "cublasCreate_v2");
  loaded.find(made.destroy, "cublasDestroy_v2");
  loaded.find(made.set_stream, "cublasSetStream_v2");
  loaded.find(made.set_workspace, "cublasSetWorkspace_v2");
  loaded.find(made.set_math_mode, "cublasSetMathMode");
  loaded.find(made.status_string, "cublasGetStatusString");
  loaded.find(made.product, "cublasSgemm_v2_64");
  loaded.find(made.products, "cublasSgemmStridedBatched_64");
  if (!loaded.why_not().empty()) {
    made.why_not = "matrix products need cuBLAS, which cannot be used: " + loaded.why_not();
  }
  return made;
}

const library& cublas() {
  static const library loaded = load();
  return loaded;
}

/// Its words, if there was an error.
std::string words(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return {};
  return std::string(call) + ": " + cublas().status_string(status);
}

}  // namespace

void blas_pool::close() noexcept {
  const std::lock_guard lock(mutex_);
  for (auto* h : all_) {
    cublas().destroy(h->handle);
    cudaFree(h->workspace);
    delete h;
  }
  all_.clear();
  free_.clear();
}

blas_handle* blas_pool::take(cudaStream_t stream, std::string& why) {
  const auto& lib = cublas();
  if (!lib.why_not.empty()) {
    why = lib.why_not;
    return nullptr;
  }
  blas_handle* taken = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      taken = free_.back();
      free_.pop_back();
    }
  }
  if (taken == nullptr) {
    taken = new blas_handle;
    if (const auto said = cudaMalloc(&taken->workspace, workspace_bytes); said != cudaSuccess) {
      why = std::string("cudaMalloc of a workspace for cuBLAS: ") + cudaGetErrorString(said);
      delete taken;
      return nullptr;
    }
    why = words(lib.create(&taken->handle), "cublasCreate");
    if (!why.empty()) {
      cudaFree(taken->workspace);
      delete taken;
      return nullptr;
    }
    {
      const std::lock_guard lock(mutex_);
      all_.push_back(taken);
    }
    // Products are of floats, not of TF32.
    why = words(lib.set_math_mode(taken->handle, CUBLAS_DEFAULT_MATH), "cublasSetMathMode");
  }
  // The stream before the workspace, which it sets back.
  if (why.empty()) why = words(lib.set_stream(taken->handle, stream), "cublasSetStream");
  if (why.empty()) {
    why = words(lib.set_workspace(taken->handle, taken->workspace, workspace_bytes), "cublasSetWorkspace");
  }
  if (!why.empty()) {
    give_back(taken);
    return nullptr;
  }
  return taken;
}

void blas_pool::give_back(blas_handle* handle) {
  if (handle == nullptr) return;
  cublas().set_stream(handle->handle, nullptr);  // the stream ends before the handle does
  const std::lock_guard lock(mutex_);
  free_.push_back(handle);
}

// A row-major matrix is the transposed one in cuBLAS's order, so c = a * b is asked for as c' = b' * a'.
void launch(const work::matrix_product& w, launch_context& context) {
  if (w.m == 0 || w.n == 0 || w.batch == 0) return;
  if (w.k == 0) return scale_product(w, context);
  if (context.product == nullptr) {
    std::string why;
    context.product = context.products.take(context.stream, why);
    if (context.product == nullptr) {
      if (!context.failed()) context.refusal = std::move(why);
      return;
    }
  }
  const auto wide = [](std::size_t x) { return static_cast<std::int64_t>(x); };
  const auto b_is = w.b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  const auto a_is = w.a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  const auto b_row = wide(w.b_transposed ? w.k : w.n);
  const auto a_row = wide(w.a_transposed ? w.m : w.k);
  const auto& lib = cublas();
  std::string said;
  if (w.batch == 1) {
    said = words(lib.product(context.product->handle, b_is, a_is, wide(w.n), wide(w.m), wide(w.k), &w.alpha, w.b, b_row,
                             w.a, a_row, &w.beta, w.c, wide(w.n)),
                 "cublasSgemm");
  } else {
    said = words(lib.products(context.product->handle, b_is, a_is, wide(w.n), wide(w.m), wide(w.k), &w.alpha, w.b,
                              b_row, wide(w.b_stride), w.a, a_row, wide(w.a_stride), &w.beta, w.c, wide(w.n),
                              wide(w.c_stride), wide(w.batch)),
                 "cublasSgemmStridedBatched");
  }
  if (!said.empty() && !context.failed()) context.refusal = std::move(said);
}

}  // namespace hydrogen::gpu::cuda
