// Kernels that treat each element by itself.

#include <hydrogen/gpu/cuda/map.cuh>

#include <cuda_runtime.h>

namespace hydrogen::gpu::cuda {
namespace {

struct axpy_of {
  float a;
  __device__ float operator()(float x, float y) const { return y + a * x; }
};

struct scaled {
  float a;
  __device__ float operator()(float x) const { return x * a; }
};

struct relu {
  __device__ float operator()(float x) const { return x > 0 || x != x ? x : 0.0F; }
};

struct relu_gradient {
  __device__ float operator()(float x, float gradient) const { return gradient * (x > 0 ? 1.0F : 0.0F); }
};

constexpr float root_half = 0.70710678118654752440F;
constexpr float root_half_by_pi = 0.39894228040143267794F;  // 1 / sqrt(2 pi)

struct gelu {
  __device__ float operator()(float x) const { return 0.5F * x * (1.0F + erff(x * root_half)); }
};

struct gelu_gradient {
  __device__ float operator()(float x, float gradient) const {
    const float below = 0.5F * (1.0F + erff(x * root_half));
    // x times the density is 0 in float beyond; so is not infinity times 0. A NaN is kept by `below`.
    const float near = fminf(fmaxf(x, -15.0F), 15.0F);
    return gradient * (below + near * (root_half_by_pi * expf(-0.5F * near * near)));
  }
};

/// A pattern of eight bytes that repeats with the element's size, so that its phase is that of the address.
__global__ void fill_bytes(char* to, std::size_t bytes, std::uint64_t pattern) {
  const auto address = reinterpret_cast<std::uintptr_t>(to);
  const std::size_t before = (16 - address % 16) % 16;
  const std::size_t head = before < bytes ? before : bytes;
  const std::size_t whole = (bytes - head) / 16;
  const std::size_t tail = head + whole * 16;
  auto* vectors = reinterpret_cast<ulonglong2*>(to + head);
  for (std::size_t i = this_thread(); i < whole; i += all_threads()) vectors[i] = make_ulonglong2(pattern, pattern);
  const auto byte = [&](std::size_t i) { to[i] = static_cast<char>(pattern >> (address + i) % 8 * 8); };
  const std::size_t mine = this_thread();
  if (mine < head) byte(mine);
  if (tail + mine < bytes) byte(tail + mine);
}

/// Columns go round with the elements of a thread: one division for each thread instead of for each element.
template <class Unit>
__global__ void add_bias_rows(const Unit* x, const Unit* bias, Unit* to, std::size_t n, std::size_t columns) {
  const std::size_t step = all_threads() % columns;
  std::size_t c = this_thread() % columns;
  for (std::size_t i = this_thread(); i < n; i += all_threads()) {
    const Unit a = x[i], b = bias[c];
    if constexpr (sizeof(Unit) == sizeof(float4)) {
      to[i] = make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
    } else {
      to[i] = a + b;
    }
    c += step;
    if (c >= columns) c -= columns;
  }
}

__global__ void add_one(std::uint64_t* counter) {
  ++*counter;
}

__global__ void scale_matrices(float beta, float* c, std::size_t each, std::size_t stride) {
  float* mine = c + blockIdx.y * stride;
  for (std::size_t i = this_thread(); i < each; i += all_threads()) mine[i] = beta == 0 ? 0.0F : beta * mine[i];
}

__global__ void begin_replay(fault_record* record) {
  ++record->replays;
}

}  // namespace

void launch(const work::fill& w, launch_context& context) {
  const std::size_t size = size_of(w.type);
  const std::size_t bytes = w.n * size;
  if (bytes == 0) return;
  std::uint64_t pattern = size == 8 ? w.bits : w.bits & ((std::uint64_t{1} << size * 8) - 1);
  for (std::size_t known = size; known < 8; known *= 2) pattern |= pattern << known * 8;
  fill_bytes<<<blocks_for(bytes / 16 + 16, context), block_threads, 0, context.stream>>>(static_cast<char*>(w.to),
                                                                                         bytes, pattern);
}

void launch(const work::copy& w, launch_context& context) {
  if (w.bytes == 0) return;
  context.check(cudaMemcpyAsync(w.to, w.from, w.bytes, cudaMemcpyDefault, context.stream), "cudaMemcpyAsync");
}

void launch(const work::axpy& w, launch_context& context) {
  map(context, axpy_of{w.a}, w.n, w.y, w.x, static_cast<const float*>(w.y));
}

void launch(const work::scale& w, launch_context& context) {
  map(context, scaled{w.a}, w.n, w.x, static_cast<const float*>(w.x));
}

void launch(const work::add_bias& w, launch_context& context) {
  const std::size_t n = w.rows * w.columns;
  if (n == 0) return;
  if (w.columns % 4 == 0 && all_aligned({w.x, w.bias, w.to})) {
    add_bias_rows<<<blocks_for(n / 4, context), block_threads, 0, context.stream>>>(
        reinterpret_cast<const float4*>(w.x), reinterpret_cast<const float4*>(w.bias), reinterpret_cast<float4*>(w.to),
        n / 4, w.columns / 4);
  } else {
    add_bias_rows<<<blocks_for(n, context), block_threads, 0, context.stream>>>(w.x, w.bias, w.to, n, w.columns);
  }
}

void launch(const work::activate& w, launch_context& context) {
  if (w.what == work::function::relu) return map(context, relu{}, w.n, w.to, w.x);
  map(context, gelu{}, w.n, w.to, w.x);
}

void launch(const work::activate_gradient& w, launch_context& context) {
  if (w.what == work::function::relu) return map(context, relu_gradient{}, w.n, w.to, w.x, w.gradient);
  map(context, gelu_gradient{}, w.n, w.to, w.x, w.gradient);
}

void launch(const work::increment& w, launch_context& context) {
  add_one<<<1, 1, 0, context.stream>>>(w.counter);
}

void scale_product(const work::matrix_product& w, launch_context& context) {
  constexpr std::size_t most_in_grid = 65535;
  const std::size_t each = w.m * w.n;
  for (std::size_t b = 0; b < w.batch; b += most_in_grid) {
    const auto some = w.batch - b < most_in_grid ? w.batch - b : most_in_grid;
    const dim3 grid(blocks_for(each, context), static_cast<unsigned>(some));
    scale_matrices<<<grid, block_threads, 0, context.stream>>>(w.beta, w.c + b * w.c_stride, each, w.c_stride);
  }
}

void count_replay(const fault_sink& faults, cudaStream_t stream) {
  begin_replay<<<1, 1, 0, stream>>>(faults.record);
}

cudaError_t find_kernels() {
  cudaFuncAttributes attributes{};
  return cudaFuncGetAttributes(&attributes, begin_replay);
}

}  // namespace hydrogen::gpu::cuda
