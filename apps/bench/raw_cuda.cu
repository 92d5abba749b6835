#include "raw_cuda.hpp"
#include <cuda_runtime.h>

#include <cstring>
#include <stdexcept>
#include <string>

namespace hydrogen::bench::raw_cuda {
namespace {

void check(cudaError_t said, const char* call) {
  if (said == cudaSuccess) return;
  (void)cudaGetLastError();
  throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(said));
}

class own_stream {
 public:
  own_stream() { check(cudaStreamCreateWithFlags(&made_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags"); }
  ~own_stream() { cudaStreamDestroy(made_); }
  own_stream(const own_stream&) = delete;
  cudaStream_t get() const { return made_; }
  void finish() { check(cudaStreamSynchronize(made_), "cudaStreamSynchronize"); }

 private:
  cudaStream_t made_ = nullptr;
};

__global__ void nothing() {}

}  // namespace

bool is_built() {
  return true;
}

void open(std::uint32_t number) {
  check(cudaSetDevice(static_cast<int>(number)), "cudaSetDevice");
  check(cudaFree(nullptr), "cudaFree");  // which makes the context
}

struct pinned_copy::state {
  explicit state(std::size_t n) : bytes(n) {
    check(cudaHostAlloc(&host, bytes, cudaHostAllocPortable), "cudaHostAlloc");
    std::memset(host, 1, bytes);
    auto said = cudaMalloc(&device, bytes);
    if (said == cudaSuccess) said = cudaMemset(device, 0, bytes);
    if (said == cudaSuccess) said = cudaDeviceSynchronize();
    if (said == cudaSuccess) return;
    release();
    check(said, "cudaMalloc");
  }
  ~state() { release(); }
  void release() {
    cudaFree(device);
    cudaFreeHost(host);
  }

  own_stream on;
  std::size_t bytes;
  void* host = nullptr;
  void* device = nullptr;
};

pinned_copy::pinned_copy(std::size_t bytes) : state_(std::make_unique<state>(bytes)) {}

pinned_copy::~pinned_copy() = default;

void pinned_copy::run(way where, int times) {
  const bool up = where == way::to_device;
  for (int i = 0; i < times; ++i) {
    check(cudaMemcpyAsync(up ? state_->device : state_->host, up ? state_->host : state_->device, state_->bytes,
                          up ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost, state_->on.get()),
          "cudaMemcpyAsync");
  }
  state_->on.finish();
}

struct empty_launch::state {
  own_stream on;
};

empty_launch::empty_launch() : state_(std::make_unique<state>()) {
  enqueue();  // loads it
  finish();
}

empty_launch::~empty_launch() = default;

void empty_launch::enqueue() {
  nothing<<<1, 1, 0, state_->on.get()>>>();
  check(cudaGetLastError(), "launch");
}

void empty_launch::finish() {
  state_->on.finish();
}

}  // namespace hydrogen::bench::raw_cuda
